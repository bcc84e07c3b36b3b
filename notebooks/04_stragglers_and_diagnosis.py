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
# *After 40 minutes 56 of 60 files are done. The other four go on. Are they broken, or only big?*
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
# ## Four files at work
#
# A recording as it was 40 minutes after its start. `at` cuts off what came later, so this is what
# could be known then:

# %%
jobs, details = datasets.load("stragglers")
now = jobs["observed_at"].iloc[0] + timedelta(minutes=40)
files = importstats.stragglers(details, at=now)
ax = plots.plot_files(details, files, at=now)

# %% tags=["check"]
running = files[files["state"] == "InProgress"]
running[["file", "file_size_bytes", "elapsed_s", "pace", "idle_s", "verdict"]].round(2)

# %% [markdown]
# Two are ten times larger than the others and run at the pace of their peers: `big`. One is `slow`,
# at an eighth of its peers' pace, so look at the data node that has it. One is `stuck`: it has not
# moved for five minutes.
#
# `pace` is what makes the difference. It compares what a file did with what its peers did in the
# very same minutes, for its size. So neither size, nor load that changes over time, nor a long wait
# for a slot passes for slowness. An elapsed time alone cannot tell; Spark's rule for speculative
# execution, which is such a one, takes all four for stragglers:

# %% tags=["check"]
spark = spark_speculation(details, at=now)
spark.loc[spark["is_straggler"], ["file", "elapsed_s", "threshold_s"]].round(0)

# %% [markdown]
# ## All verdicts
#
# At the end of the job all stragglers have a name, and what each of them cost. `delay_s` is how
# much later the phase Importing ended because of it:

# %% tags=["check"]
files = importstats.stragglers(details)
late = files[files["is_straggler"]].sort_values("delay_s", ascending=False, kind="stable")
late[["file", "verdict", "pace", "retries", "elapsed_s", "delay_s"]].round(2)

# %% [markdown]
# Eight files were odd, but one alone made the job later, by 24 minutes. The rest of them cost
# nothing: others were still at work when they ended.

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
later = jobs["observed_at"].iloc[0] + timedelta(minutes=14)
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
