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
# # Quick start: watch an import from a notebook
#
# *An import of 60 files is running. How far is it, when will it end, and does a file hold it up?*
#
# This notebook collects a job while it runs and looks at it in between. The server is a simulated
# one, so that it runs anywhere. It speaks real HTTP: with your own server one line changes.

# %%
# %matplotlib inline
import tempfile
import threading
import time
from pathlib import Path

import importstats
from importstats.reports import report
from importstats.simulator import SimulatorServer, make_shape, with_stragglers

# %% [markdown]
# ## A server
#
# It imports 60 files, one of them slow, in six minutes. Its clock runs 20 times faster than ours:
# what is a minute on a real server is 3 seconds here, and rates look 20 times higher.

# %%
cluster, spec = make_shape("steady", files=60, seed=10)
spec = with_stragglers(spec, ["slow"], seed=1)
server = SimulatorServer(cluster, [spec], seed=1, acceleration=20)
server.start()
[job_id] = server.job_ids

# %% [markdown]
# The line that changes: `ImportClient("http://localhost:19530", token=...)` for Milvus, or the URI
# and key of Zilliz Cloud.

# %%
client = importstats.ImportClient(server.uri)
for record in client.list_jobs():
    print(record.collection_name, record.state)

# %% [markdown]
# ## Collect
#
# A `Collector` asks for the job as often as there may be news, until it ends, and stores every
# answer. Here it works in the background of the notebook; a running system leaves that to
# `importstats collect`, or to a cron job with `importstats snapshot`.

# %%
store = importstats.SnapshotStore(tempfile.mkdtemp())
policy = importstats.PollPolicy(min_s=0.1, max_s=0.8)
collector = importstats.Collector(client, store, jobs=[job_id], policy=policy)
collecting = threading.Thread(target=collector.run)
collecting.start()
time.sleep(6)

# %% [markdown]
# ## Look
#
# `ImportJob` is one job as the store has it now. A cell that ends in it shows it:

# %%
job = importstats.ImportJob.load(store, job_id)
job

# %% [markdown]
# Its `plot()` is the whole story so far: progress on the job's phases with a cone of likely ends,
# throughput, and a line for each file.

# %%
job.plot()

# %% [markdown]
# ## The end
#
# The job ends, and so does the collector.

# %%
collecting.join()
job = importstats.ImportJob.load(store, job_id)
job

# %%
job.plot()

# %% [markdown]
# All rows are there:

# %% tags=["check"]
last = job.jobs.iloc[-1]
print(f"{last['state']}: {last['imported_rows']:,} of {last['total_rows']:,} rows")
print("index built:", (job.phases["phase"] == "IndexBuilding").any())

# %% [markdown]
# These are the files that took longest beside others of their size. A file counts as late only if
# the polls show it beyond doubt, and this job was short:

# %%
job.stragglers.nlargest(5, "times_usual")[["file", "verdict", "times_usual", "is_straggler"]]

# %% [markdown]
# ## The numbers behind it
#
# Everything shown comes from two frames, one row per snapshot and one row per file and snapshot (or
# per run of equal values of a file):

# %%
jobs = importstats.load_jobs(store)
details = importstats.load_details(store, runs=True)
print(f"{len(jobs)} snapshots, {len(details)} file rows")
details[
    ["observed_at", "last_observed_at", "file", "state", "progress_pct", "imported_rows"]
].head()

# %% [markdown]
# Every analysis is a function of these frames, such as how long each phase took:

# %%
importstats.phases(jobs)[["phase", "start", "duration_s", "snapshots"]]

# %% [markdown]
# One answer alone can be looked at, too, without a store:

# %% tags=["check"]
answer = client.describe(job_id)
files = importstats.flatten_details(answer)
print(
    len(files),
    "files,",
    f"{files['imported_rows'].sum():,} rows,",
    files["state"].unique().tolist(),
)

# %% [markdown]
# And a page to send around is one call:

# %%
page = Path(store.uri) / "report.html"
page.write_text(report(jobs, details, at=job.at), encoding="utf-8")
server.stop()

# %% [markdown]
# Next: [where the time goes](02_throughput_and_phases.ipynb), [when it will
# end](03_eta.ipynb), [who is late and why](04_stragglers_and_diagnosis.ipynb), [many
# jobs](05_many_jobs.ipynb), [your own tools](06_bring_your_own.ipynb).
