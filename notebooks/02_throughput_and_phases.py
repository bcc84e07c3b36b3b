# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Where does the time go?
#
# *My import has run for an hour and says 60 %. Is it fast? What does it do all the time?*
#
# The server says one number, `progress`, and one word, `Importing`. Behind them a job goes through
# phases that the server does not name. This notebook finds them, and how many rows and bytes per
# second really arrive.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import pandas as pd

import importstats
from importstats import datasets, plots

pd.set_option("display.precision", 1)

# %% [markdown]
# ## The hidden phases
#
# A recording of an unremarkable job: 80 files, 628 GB.

# %%
jobs, details = datasets.load("healthy")
ax = plots.plot_progress(jobs)

# %% [markdown]
# The bands are the phases, derived from state, progress, rows and details of each snapshot. Their
# borders lie between two snapshots, so a duration has an uncertainty:

# %% tags=["check"]
phases = importstats.phases(jobs)
phases[["phase", "start", "duration_s", "uncertainty_s", "rows_at_end"]]

# %% [markdown]
# Each phase owns a fixed range of `progress`, whatever time it takes. Points and minutes have
# little to do with each other:

# %% tags=["check"]
points = {"Pending": 10, "PreImporting": 30, "Importing": 30, "Sorting": 10, "IndexBuilding": 10}
spent = phases.set_index("phase")["duration_s"].reindex(list(points))
pd.DataFrame({"points_pct": points, "time_pct": 100 * spent / spent.sum()}).round(0)

# %% [markdown]
# In another job it can be worse. Here the last ten points take over four fifths of the time:

# %% tags=["check"]
waiting, _ = datasets.load("index_bound")
spent = importstats.phases(waiting).set_index("phase")["duration_s"].reindex(list(points))
pd.DataFrame({"points_pct": points, "time_pct": 100 * spent / spent.sum()}).round(0)

# %% [markdown]
# ## Rows per second
#
# The server counts the rows of a file only when the whole file is done. So a rate between two
# snapshots (`rows_per_s`) depends on which files end just then. `rows_per_s_spread` spreads the
# rows of each file over the time in which it was written, and `rows_per_s_window`, the line below,
# is its average over a trailing window:

# %%
rates = importstats.throughput(jobs, window="300s")
ax = plots.plot_throughput(rates)

# %% tags=["check"]
writing = rates[rates["rows_per_s_spread"] > 0]
writing[["rows_per_s", "rows_per_s_window", "bytes_per_s_window"]].describe(
    percentiles=[0.1, 0.5, 0.9]
).loc[["10%", "50%", "90%"]].round(-2)

# %% [markdown]
# The raw rate is 0 in half of the snapshots and enormous in others. The window shows what the job
# does: it is above 80,000 rows and 130 MB a second half of the time, and above 300,000 rows for a
# tenth of it. Over the whole job, with reading, sorting and indexing, the average is 78,000 rows a
# second, and that is what counts for planning the next import:

# %% tags=["check"]
importstats.summary(jobs, details)[
    ["duration_s", "rows", "bytes", "files", "rows_per_s", "bytes_per_s", "efficiency"]
].round(2)

# %% [markdown]
# `efficiency` is how well the slots were used while rows were written: what is missing to 1 was
# lost to slots that waited for the last tasks.
#
# ## By file and by task
#
# The same function does it for each file, from the details (`by="file"`). To compare files, what
# counts is the rate while a file's task was at work, and `stragglers` has it. Here no file stands
# out:

# %% tags=["check"]
files = importstats.stragglers(details)
files[["file_size_bytes", "rows_per_s", "bytes_per_s", "pace"]].describe().loc[
    ["count", "min", "50%", "max"]
].round(1)

# %% [markdown]
# Small files share a task, and the server moves them in step. `by="task"` finds out which do. In
# this job nearly every file is a task of its own; in a job of a thousand small files it matters.

# %% tags=["check"]
from importstats import infer_tasks

tasks = infer_tasks(details)
print(tasks["file"].nunique(), "files in", tasks["task"].nunique(), "tasks")

# %% [markdown]
# ## When rows go down
#
# A data node restarts, and the tasks on it begin again. The rows they had written are gone: the
# job's row count falls, or merely stands still, because other tasks write on. The files show it.

# %%
jobs, details = datasets.load("node_restart")
fig, (top, bottom) = plt.subplots(2, 1, figsize=(9, 6), layout="constrained", sharex=True)
ax = plots.plot_throughput(importstats.throughput(jobs, window="60s"), ax=top)
ax = plots.plot_file_heatmap(details, ax=bottom)

# %% [markdown]
# No rate is negative. What was lost has a column of its own, `rows_lost`, and `rows_delta` counts
# all that was written, twice if twice:

# %% tags=["check"]
by_file = importstats.throughput(details, by="file")
lost = by_file[by_file["rows_lost"] > 0]
print(f"{lost['rows_lost'].sum():,} of {jobs['imported_rows'].max():,} rows were written twice")
lost[["observed_at", "file", "imported_rows", "rows_lost"]]

# %% [markdown]
# Next: [when will it end?](03_eta.ipynb)
