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
# # Which file is late, and is something wrong?
#
# *After 55 minutes 34 of 60 files are done. Which of the other 26 are late?*
#
# A few files often decide when an import ends. This notebook finds them, says why they are late,
# and goes on to what else can be wrong with a job.

# %%
# %matplotlib inline
from datetime import timedelta

import pandas as pd

import importstats
from importstats import datasets, plots
from importstats.analysis.speculation import spark_speculation
from importstats.store.cluster_frames import load_cluster

pd.set_option("display.precision", 2, "display.max_colwidth", 120)

# %% [markdown]
# ## Which are late?
#
# A recording as it was 55 minutes after its start. `at` cuts off what came later, so this is what
# could be known then:

# %%
jobs, details = datasets.load("stragglers")
now = jobs["observed_at"].iloc[0] + timedelta(minutes=55)
files = importstats.stragglers(details, at=now)
ax = plots.plot_files(details, files, at=now)

# %% tags=["check"]
running = files[files["state"] == "InProgress"].sort_values("times_usual", ascending=False)
columns = ["file", "file_size_bytes", "elapsed_s", "times_usual", "retries", "verdict"]
running.loc[running["is_straggler"] | (running["file_size_bytes"] > 40e9), columns].round(2)

# %% [markdown]
# The server counts the rows of a file only when the whole file is done, so a file at work is judged
# by its age. `times_usual` compares that with what files of its size take in this job. One has
# taken 3.5 times as long: whether it is slow or stuck, nothing shows yet, so it is `unknown`. Two
# `go back`: they returned to the queue and began again. The last two are over five times as large
# as any other file, and far from late.
#
# Size is what makes the difference. Spark's rule for speculative execution compares ages alone. A
# quarter of an hour later it takes all that is still at work for stragglers, the two large files
# among them:

# %% tags=["check"]
spark = spark_speculation(details, at=now + timedelta(minutes=15))
spark.loc[spark["is_straggler"], ["file", "elapsed_s", "threshold_s"]].round(0)

# %% [markdown]
# ## All verdicts
#
# At the end of the job all stragglers have a name, and what each of them cost. `delay_s` is how
# much later the phase Importing ended because of it:

# %% tags=["check"]
files = importstats.stragglers(details)
costly = files["delay_s"] > 0
columns = ["file", "file_size_bytes", "verdict", "times_usual", "retries", "elapsed_s", "delay_s"]
files.loc[files["is_straggler"] | costly, columns].round(2)

# %% [markdown]
# Five files were odd, and none of them made the job later: others were still at work when they
# ended. The end waited 7 minutes for the largest file, which took no longer than its size explains.

# %%
ax = plots.plot_stragglers(files)

# %% [markdown]
# The rules, and how well they do: [docs/stragglers.md](../docs/stragglers.md).
#
# ## Is something wrong?
#
# `diagnose` looks at everything at once and says what it finds in a sentence, with what to do.
# *"My job stands at 80 % and does not move"*:

# %% tags=["check"]
jobs, details = datasets.load("index_bound")
later = jobs["observed_at"].iloc[0] + timedelta(minutes=40)
found = importstats.diagnose(jobs, details, at=later)
for finding in found.itertuples():
    print(f"{finding.severity}, {finding.finding}: {finding.message}.\n{finding.advice}")

# %% [markdown]
# *"My job failed, and progress and rows are 0. How far did it get?"* The server has forgotten; the
# snapshots before know:

# %% tags=["check"]
jobs, details = datasets.load("failed")
print(jobs[["observed_at", "state", "progress_pct", "imported_rows"]].tail(3).to_string())
found = importstats.diagnose(jobs, details)
for finding in found.itertuples():
    print(f"\n{finding.severity}, {finding.finding}: {finding.message}.\n{finding.advice}")

# %% [markdown]
# *"The number of rows went down!"*

# %% tags=["check"]
jobs, details = datasets.load("node_restart")
later = jobs["observed_at"].iloc[0] + timedelta(minutes=12)
found = importstats.diagnose(jobs, details, at=later)
for finding in found.itertuples():
    print(f"{finding.severity}, {finding.finding}: {finding.message}.\n{finding.advice}")

# %% [markdown]
# *"Why does it wait?"* The progress of a job does not say. If its cluster is watched
# (`collect --management-uri`, see [why](../docs/why.md)), the store has tables of it: the tasks,
# the index builds, the nodes.

# %% tags=["check"]
waits = datasets.path("waits")
tasks, builds = importstats.load_tasks(waits), importstats.load_builds(waits)
nodes = importstats.load_nodes(waits)
print(tasks.groupby(["job_id", "kind"], observed=True)["task_id"].nunique().to_string())
failed = builds[builds["reason"].notna()]
print(failed[["segment_id", "state", "tries", "reason"]].head(2).to_string())
print(nodes.drop_duplicates("node_id")[["node_id", "name", "cpu_cores"]].to_string())

# %% [markdown]
# With them the causes are named, each at its time:

# %% tags=["check"]
jobs, _ = datasets.load("waits")
cluster = load_cluster(waits)
for minute in (3, 12, 23):
    at = jobs["observed_at"].iloc[0] + timedelta(minutes=minute)
    job = importstats.ImportJob(jobs, at=at, cluster=cluster)
    print(f"after {minute} min, {job.phase}: {job.cause}")

# %% [markdown]
# And the work of each node, the queue and the segments can be seen over time:

# %%
importstats.ImportJob(jobs, cluster=cluster).plot_cluster()

# %% [markdown]
# And nothing is found where nothing is wrong, at any time of a healthy job:

# %% tags=["check"]
jobs, details = datasets.load("healthy")
times = jobs["observed_at"].iloc[::20]
found = pd.concat([importstats.diagnose(jobs, details, at=time) for time in times])
print(len(times), "looks:", found.groupby(["severity", "finding"], observed=True).size().to_dict())

# %% [markdown]
# (Index building is explained to everybody who looks while it goes on.)
#
# The numbers behind a finding stand in `evidence`, as JSON, for a machine to read. Next: [many
# jobs](05_many_jobs.ipynb).
