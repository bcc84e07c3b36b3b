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
# # When will it end?
#
# *The job says 80 % after half an hour. So it ends in eight minutes?*
#
# No. This notebook shows why a straight line through `progress` is wrong, what importstats says
# instead, and how to find out whether it deserves to be believed.

# %%
# %matplotlib inline
from datetime import timedelta

import pandas as pd

import importstats
from importstats import datasets, plots
from importstats.analysis.baselines import linear
from importstats.analysis.scoring import backtest

pd.set_option("display.precision", 2)

# %% [markdown]
# ## The straight line
#
# A recording of a job whose indexes take long. Ten minutes after its start:

# %%
jobs, details = datasets.load("index_bound")
now = jobs["observed_at"].iloc[0] + timedelta(minutes=10)
importstats.ImportJob(jobs, details, at=now)

# %% [markdown]
# What progress bars do is to go on at the mean speed so far. Here is what that says every ten
# minutes, beside the truth, since the recording knows the end:

# %%
true_end = jobs["complete_time"].max()


def every_ten_minutes(predicted):
    minute = (predicted["observed_at"] - predicted["observed_at"].iloc[0]) // timedelta(minutes=10)
    return predicted[minute.diff() > 0]


straight = linear(jobs).merge(jobs[["snapshot_id", "observed_at", "progress_pct"]])
straight["predicted_min"] = straight["remaining_p50_s"] / 60
straight["true_min"] = (true_end - straight["observed_at"]).dt.total_seconds() / 60
every_ten_minutes(straight)[["observed_at", "progress_pct", "predicted_min", "true_min"]].round(
    {"predicted_min": 0, "true_min": 0}
)

# %% [markdown]
# It says "a quarter of an hour" for two hours. No smoothing cures that: the server counts phases,
# not time, and the last ten points of `progress` are all of index building.
#
# ## An estimate with an interval
#
# `importstats.eta` knows the phases. It takes the rest of the current one from its pace, and the
# later ones from what such phases took in other jobs. What it does not know shows as a wide
# interval: the job ends by `eta_p10` with 10 %, by `eta_p90` with 90 % probability.

# %%
predicted = importstats.eta(jobs, details)
ax = plots.plot_eta(predicted, end=true_end)

# %%
predicted["true_min"] = (true_end - predicted["observed_at"]).dt.total_seconds() / 60
for name in ("p10", "p50", "p90"):
    predicted[f"{name}_min"] = predicted[f"remaining_{name}_s"] / 60
columns = ["observed_at", "phase", "p10_min", "p50_min", "p90_min", "true_min"]
every_ten_minutes(predicted)[columns].round(dict.fromkeys(columns[2:], 0))

# %% [markdown]
# When index building begins, nobody can know that it will take five times as long as all that came
# before: few jobs do, so the first estimates are too early even at 90 %. As soon as the first
# segments have their index, the interval moves to where the truth is, and narrows from then on.
#
# ## Where it says nothing
#
# An estimate needs something to rest on. Without, there is none, and a reason:

# %% tags=["check"]
failed, _ = datasets.load("failed")
silent = pd.concat([predicted, importstats.eta(failed)])
silent.groupby(["phase", "reason"], observed=True).size()

# %% [markdown]
# ## History
#
# Most imports are not the first of their kind. Given earlier jobs, the estimate learns from them:
# those of the same collection tell most, then those of the same cluster, then others. A whole store
# may be given. For a job only what had ended by then counts, never the future, never itself.
#
# `many_jobs` holds three days of imports. Here is one of the collection `documents`, on the second
# day, without and with what came before:

# %%
fleet, fleet_details = datasets.load("many_jobs")
ids = fleet.loc[fleet["collection_name"] == "documents", "job_id"].unique()
one = fleet[fleet["job_id"] == ids[4]]
one_details = fleet_details[fleet_details["job_id"] == ids[4]]
end = one["complete_time"].max()
ax = plots.plot_eta(importstats.eta(one, one_details), end=end)
title = ax.set_title("without history", loc="left")

# %%
ax = plots.plot_eta(importstats.eta(one, one_details, history=fleet), end=end)
title = ax.set_title("with the store as history", loc="left")

# %% [markdown]
# `ImportJob.load(store, job_id)` and the command line take the store as history by themselves.
#
# ## Should you believe it?
#
# Do not take our word: replay your own recordings. `backtest` asks at every snapshot, as if there
# were no future, and compares with what happened. All imports of `documents`:

# %%
documents = fleet[fleet["collection_name"] == "documents"]
documents_details = fleet_details[fleet_details["job_id"].isin(ids)]
result = backtest(documents, documents_details, ["eta", "linear", "tqdm"], history=fleet)
scores = ["median_relative_error", "p90_relative_error", "bias", "coverage_80"]
result.overall.query("support == 'answered'")[["method", "snapshots", "jobs", *scores]]

# %% [markdown]
# An error of 0.1 is six minutes in an hour. `coverage_80` is how often the truth lay between p10
# and p90: 80 % is what they promise. A quarter of the snapshots are of one job, that of the third
# morning, when other load made the cluster three times slower than it had ever been: no earlier
# job ran like that. The next notebook but one looks for [that morning](05_many_jobs.ipynb).

# %%
ax = plots.plot_eta_error(result.by_tenth)

# %%
ax = plots.plot_calibration(result.predictions)

# %% tags=["check"]
median = result.overall.query("support == 'both'").set_index("method")["median_relative_error"]
print("wrong by less than half of what a straight line is:", median["eta"] < median["linear"] / 2)

# %% [markdown]
# How the model works, with its formulas and sources, and how it scores on hundreds of simulated
# jobs: [docs/eta.md](../docs/eta.md). Next: [who is
# late?](04_stragglers_and_diagnosis.ipynb)
