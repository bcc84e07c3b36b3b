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
# # Thirty jobs, two clusters
#
# *We import all day. Did anything go wrong this week? Is it getting slower? How long will the next
# import take?*
#
# One store can hold the jobs of any number of servers, and every analysis takes as many jobs as
# there are. A job is known by its server and its id together.

# %%
# %matplotlib inline
import matplotlib.pyplot as plt
import pandas as pd

import importstats
from importstats import datasets, plots

pd.set_option("display.precision", 2, "display.max_colwidth", 120)

# %%
jobs, details = datasets.load("many_jobs")
fleet = importstats.summary(jobs, details)
print(f"{len(fleet)} jobs, {fleet['rows'].sum() / 1e6:,.0f} M rows")

# %% [markdown]
# ## What was there

# %% tags=["check"]
minutes = fleet.assign(minutes=fleet["duration_s"] / 60)
completed = minutes[minutes["phase"] == "Completed"]
groups = completed.groupby(["source_uri", "collection_name"])
groups["minutes"].describe()[["count", "min", "50%", "max"]].round(1)

# %% [markdown]
# The longest import of `products` and that of `documents` took over twice as long as usual. Which
# were they?
#
# ## Which stand out
#
# `compare` puts jobs beside each other. Among jobs of one collection, twice the median is a
# question:

# %% tags=["check"]
slow = []
for _, same in jobs.groupby(["source_uri", "collection_name"], observed=True):
    compared = importstats.compare(same)
    slow.append(compared[compared["duration_s_to_median"] > 2])
slow = pd.concat(slow)
slow[["source_uri", "collection_name", "job_id", "started_at", "duration_s_to_median"]]

# %% [markdown]
# Both ran on the third morning, on one cluster. Where did they lose their time? The bars are
# phases: all of them became two to three times as long. That is a busy cluster, not one bad file,
# which would have made Importing longer and nothing else.

# %%
fig, ax = plt.subplots(figsize=(9, 7), layout="constrained")
ax = plots.plot_comparison(importstats.phases(jobs), fleet, ax=ax)

# %% tags=["check"]
spent = ["pre_importing_s", "importing_s", "sorting_s", "index_building_s"]
documents = fleet[fleet["collection_name"] == "documents"].set_index("started_at")[spent]
(documents / documents.median()).round(1)

# %% [markdown]
# ## What went wrong
#
# The same `diagnose` as for one job, over all:

# %% tags=["check"]
found = importstats.diagnose(jobs, details)
found[["source_uri", "job_id", "severity", "finding", "message"]]

# %% [markdown]
# One failed. Another had a slow file, which cost it nothing: others were still at work when that
# one ended. All stragglers of the fleet:

# %% tags=["check"]
files = importstats.stragglers(details)
columns = ["source_uri", "job_id", "file", "verdict", "times_usual", "delay_s"]
files.loc[files["is_straggler"], columns]

# %% [markdown]
# ## Day by day
#
# Rows per second of each collection over the three days. The third morning is easy to see:

# %%
rates = importstats.throughput(jobs, by="collection", window="10min")
fig, ax = plt.subplots(figsize=(9, 4), layout="constrained")
ax = plots.plot_throughput(rates, ax=ax)

# %% [markdown]
# ## How long will the next one take?
#
# Before it has shown anything, a job is as long as its likes. The store as history, and the first
# snapshot of the last import of each collection:

# %%
last = fleet.sort_values("started_at").groupby("collection_name").tail(1)
is_last = jobs["job_id"].isin(last["job_id"])
predicted = importstats.eta(jobs[is_last], history=jobs)
first = predicted.groupby("job_id", as_index=False).first()
table = last[["job_id", "collection_name", "duration_s"]].merge(first)
columns = ["duration_s", "remaining_p10_s", "remaining_p50_s", "remaining_p90_s"]
(table.set_index("collection_name")[columns] / 60).round(0)

# %% [markdown]
# (in minutes; `duration_s` is what it then took.)
#
# As pages of all jobs: `importstats fleet STORE -o index.html`, or as a table in the terminal:
# `importstats summary STORE`. Next: [your own tools on the same files](06_bring_your_own.ipynb).
