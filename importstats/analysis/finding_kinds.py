"""All kinds of findings: when each applies, its evidence and its advice.

This is the one table: :func:`~importstats.diagnose` takes names, order and advice from it, and
``docs/diagnosis.md`` is generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd


@dataclass(frozen=True)
class FindingKind:
    """One kind of finding.

    Attributes
    ----------
    name : str
    severities : tuple of str
        The severities it can have, the mildest first.
    when : str
        When it applies.
    evidence : tuple of str
        The names of its numbers and texts.
    advice : str
        What to do, unless the rule has more specific advice.
    explains : bool
        Whether it explains what a job is doing, so that a headline has it even as an ``info``.
    """

    name: str
    severities: tuple[str, ...]
    when: str
    evidence: tuple[str, ...]
    advice: str
    explains: bool = False


#: All kinds by importance: of two findings of one severity in one job, the one that comes first
#: here is shown first.
FINDING_KINDS: Final = (
    FindingKind(
        "failed",
        ("critical",),
        "the job failed; earlier snapshots show how far it came; the reason is the job's own or, "
        "if it has none, the one most of its files give",
        ("reason", "kind", "cause", "culprit", "phase", "imported_rows", "total_rows"),
        "By the kind of the reason, see below. A failed job leaves no visible rows, so its files "
        "can be imported again; of a bulk insert (Milvus up to 2.3) only those of failed tasks.",
    ),
    FindingKind(
        "rows_dropped",
        ("critical",),
        "the job had completed, and the server failed it later because its time was up (Milvus up "
        "to 2.6.6 does so, and drops its segments)",
        ("completed_at", "reason", "imported_rows"),
        "Count the rows of the collection; if they are gone, import again without the option "
        "`timeout`.",
    ),
    FindingKind(
        "rows_differ",
        ("warning",),
        "a completed job, or one of its files, has more or fewer rows than expected",
        ("expected_rows", "imported_rows", "files"),
        "Compare the files with their source. A completed job's rows are visible: importing its "
        "files again adds each row a second time, unless they are deleted first.",
    ),
    FindingKind(
        "completed_empty",
        ("info", "warning"),
        "the job completed without a row; a warning if its files have bytes and are not all "
        "delete logs",
        ("files", "file_size_bytes"),
        "Check that the paths lead to the data (of a backup: to the folders of segments), and "
        "count the rows of the collection.",
    ),
    FindingKind(
        "completed_short",
        ("info", "warning"),
        "the job completed with fewer rows than the server had counted in its files, delete logs "
        "apart; a warning unless it is a restore, whose deletes take rows away",
        ("imported_rows", "total_rows"),
        "Count the rows of the collection, and find out from which files they are missing "
        "(`check_rows`) before importing any of them again: the rows that came are visible.",
    ),
    FindingKind(
        "commit_hangs",
        ("warning",),
        "the job has been Committing (99 %) for over 10 minutes; usually that takes seconds",
        ("waited_s",),
        "Look for the job's id in the data coordinator's log: it waits for a segment or for a "
        "channel. All rows are in, so do not import them again. Until it ends, changes to the "
        "collection's schema may have to wait.",
        explains=True,
    ),
    FindingKind(
        "reason_given",
        ("info", "warning"),
        "a running job, or one of its files, carries a reason",
        ("reason", "kind", "files"),
        "By the kind of the reason, see below.",
        explains=True,
    ),
    FindingKind(
        "stalled",
        ("warning", "critical"),
        "no file has ended for 5 minutes and so long that a pause is 100 times as likely as the "
        "pace before, or 1.25 times as long as any task of the job took, for its size; or, where "
        "rows grow inside files, none has come for 5 minutes and 4 times "
        "longer than ever before; or, before rows come and if files are not known, nothing has "
        "moved for far longer than in earlier jobs of the collection, else `stall_factor` times "
        "longer than before in this phase, at least 10 minutes and 10 polls, else 6 hours; never "
        "while all rows are in",
        (
            "idle_s",
            "longest_before_s",
            "limit_s",
            "usual_s",
            "tasks_at_work",
            "usual_task_s",
            "odds",
            "phase",
        ),
        "Look for the job's id in the data coordinator's and data nodes' logs, and at the metric "
        "milvus_datacoord_import_tasks: does any node have a task of it? A data node that is "
        "restarted hands its tasks to others.",
    ),
    FindingKind(
        "waits_for_commit",
        ("info", "warning"),
        "the job is Uncommitted; a warning from 5 minutes on",
        ("waited_s",),
        "Commit the job to make its rows visible. Its option `timeout`, if it has one, keeps "
        "counting.",
        explains=True,
    ),
    FindingKind(
        "no_data_node",
        ("critical",),
        "the management port lists no data node that is up",
        ("data_nodes",),
        "Start data nodes, or look why they went down (memory is the usual cause); the tasks of "
        "the job go on by themselves.",
        explains=True,
    ),
    FindingKind(
        "quota_near",
        ("warning", "critical"),
        "before the rows are imported: the disk quota of the cluster denies writing or is too "
        "small for the job's files; a warning if nine tenths of it are used",
        ("quota_bytes", "stored_bytes", "file_size_bytes"),
        "The quota is checked once all files are read, and the job then fails: raise "
        "quotaAndLimits.limitWriting.diskProtection.diskQuota, or drop data.",
        explains=True,
    ),
    FindingKind(
        "index_build_fails",
        ("warning", "critical"),
        "an index build of the job was given to a node more than once, or carries a reason, and is "
        "not done; critical from 10 times on",
        ("builds", "segment_id", "node_id", "tries", "reason"),
        "Look at the node's log for the build; it is tried again for ever. The reason says what "
        "to mend: disk, memory, or the parameters of the index.",
        explains=True,
    ),
    FindingKind(
        "no_slot",
        ("info", "warning"),
        "tasks of the job have waited for 20 seconds while other jobs, compactions or index builds "
        "hold the data nodes' slots; a warning after 2 minutes "
        "if none of its own is at work",
        (
            "waiting_tasks",
            "tasks_at_work",
            "waited_s",
            "held_by_jobs",
            "held_by_compactions",
            "held_by_index_builds",
            "free_slots",
            "data_nodes",
        ),
        "The tasks go on by themselves once others have ended. More data nodes help, and so do "
        "more slots for each: see dataNode.workerSlotUnit (2.5: "
        "dataNode.import.maxConcurrentTaskNum).",
        explains=True,
    ),
    FindingKind(
        "sort_queued",
        ("info", "warning"),
        "segments of the job have waited for 20 seconds to be sorted (from 2.6 on); a warning "
        "after 2 minutes if none of its own is at work",
        (
            "waiting_segments",
            "segments_at_work",
            "waited_s",
            "other_compactions",
            "index_builds",
        ),
        "Sorting is a compaction and takes slots of a data node, as other compactions do. More "
        "data nodes, or a larger dataNode.workerSlotUnit, bring more slots.",
        explains=True,
    ),
    FindingKind(
        "long_index_build",
        ("warning",),
        "an index build of the job has run for at least a minute, and for 3 times as long as 3 or "
        "more others did on average",
        ("segment_id", "node_id", "took_s", "mean_s", "builds_done", "rows"),
        "Look at the load of that node, and at the rows of the segment: a larger one takes longer. "
        "The job waits for it, and nothing moves it to another node.",
        explains=True,
    ),
    FindingKind(
        "index_queue",
        ("info", "warning"),
        "index builds of the job have waited for 20 seconds for a worker; a warning after 2 "
        "minutes if builds of others or compactions are before them or at work",
        (
            "waiting_builds",
            "builds_before",
            "builds_at_work",
            "builds_of_others_at_work",
            "compactions_at_work",
            "nodes",
            "mean_build_s",
            "waited_s",
            "work_left_s",
        ),
        "No hang, and nothing to import again: more index workers (from 2.6 on data nodes), or "
        "more slots for each, build more at once.",
        explains=True,
    ),
    FindingKind(
        "node_slower",
        ("warning",),
        "a node takes twice as long for its tasks of the job as the median of its peers, and at "
        "least a minute",
        ("node_id", "address", "times_peers", "tasks", "cpu_pct", "io_wait_pct"),
        "Look at the load of that node and at its disks. Tasks stay where they are until they end "
        "or their node restarts, which hands them to others.",
        explains=True,
    ),
    FindingKind(
        "task_repeated",
        ("info", "warning"),
        "tasks of the job went back and began again, maybe on other nodes; a warning from 3 on "
        "until all are done",
        ("tasks", "nodes", "times"),
        "Look for the tasks in the logs of these nodes; their work is done again.",
    ),
    FindingKind(
        "no_free_slot",
        ("info", "warning"),
        "files wait and none is at work, for a minute; a warning from 3 minutes on",
        ("waited_s", "waiting_tasks"),
        "Other jobs hold the data nodes' slots, no data node is up, or a task needs more slots "
        "than a node has: see dataNode.slot.slotCap (2.5: dataNode.import.maxConcurrentTaskNum), "
        "and add data nodes if the other jobs need theirs.",
        explains=True,
    ),
    FindingKind(
        "one_file_holds_up",
        ("info", "warning"),
        "late tasks at work delay the end of the phase Importing by more than 2 minutes and a "
        "tenth of the time it has taken so far; a warning from 5 minutes on, if one is stuck, "
        "takes 4 times as long as others of its size, or takes twice as long and has been waited "
        "for alone",
        (
            "file",
            "verdict",
            "delay_s",
            "remaining_s",
            "times_usual",
            "as_long_p",
            "stragglers",
        ),
        "Look at the data node that imports it; nothing moves a task to another node.",
    ),
    FindingKind(
        "slow_node",
        ("warning",),
        "three tasks or more, two of them at work, take 2.5 times as long as others of their size; "
        "as many have ended in the usual time, and no more lie in between, from 1.75 times on",
        ("tasks", "tasks_at_work", "times_usual"),
        "Compare the load of the data nodes and their disks; tasks stay where they are until they "
        "end or their node restarts.",
    ),
    FindingKind(
        "throughput_collapsed",
        ("warning",),
        "for 5 minutes or more, tasks have taken so long that it is 100 times as likely at less "
        "than `collapse_factor` of their earlier pace, and tasks of several files have not written "
        "rows at that share of it; or, if progress shows it, have gone on at less than that",
        ("ratio", "lasts_s", "tasks"),
        "Look for load on the data nodes and the object store since then.",
    ),
    FindingKind(
        "waiting_for_index",
        ("info", "warning"),
        "all rows are in and the job is in IndexBuilding; a warning once it stands still for "
        "longer than usual, see below",
        ("waited_s", "idle_s", "usual_s", "indexed_share", "progress_pct"),
        "No hang: progress stands still until whole segments are indexed. Do not import again: all "
        "rows are in. Indexes wait for a free slot of an index worker (from 2.6 on of a data "
        "node): see milvus_datacoord_index_task_count (from 2.5.5 on milvus_datacoord_task_count), "
        "and add workers or slots.",
        explains=True,
    ),
    FindingKind(
        "waiting_for_sorting",
        ("info", "warning"),
        "all rows are in and the job is in Sorting, or in that or IndexBuilding (70 to 80 % of a "
        "server whose release is not known); a warning as for waiting_for_index",
        ("waited_s", "idle_s", "usual_s", "progress_pct"),
        "No hang: at 70 % and above, 2.5 and later sort the segments, 2.4 builds their indexes. Do "
        "not import again: all rows are in. Both wait for a free slot of a worker: see "
        "milvus_datacoord_task_count, and the logs of the stats (2.4: index) tasks.",
        explains=True,
    ),
    FindingKind(
        "waits_to_start",
        ("info", "warning"),
        "the job has been Pending for over 2 minutes; a warning after an hour, or once that is "
        "longer than usual for the collection, if no recent job of the cluster is ahead of it",
        ("waited_s", "usual_s", "jobs_ahead"),
        "Jobs wait for the tasks of those before them, and from 2.6 on until every channel has "
        "answered: check that data nodes are up, and how many jobs are running.",
        explains=True,
    ),
    FindingKind(
        "forgotten_soon",
        ("warning", "critical"),
        "the job had not ended when last seen, and has not been seen for more than half of "
        "`retention_s`: the server may forget the job before its end is seen",
        ("unseen_s", "retention_s", "phase"),
        "Poll the job now; how it ended is lost once the server forgets it.",
    ),
    FindingKind(
        "not_known",
        ("warning",),
        "the server says that it does not know the job, or answers with no state at all",
        ("phase", "imported_rows", "total_rows"),
        "Count the rows of the collection before importing again: if the job completed, they are "
        "visible, and would be there twice.",
    ),
    FindingKind(
        "collector_gap",
        ("info", "warning"),
        "no snapshot for more than `gap_polls` times the usual interval and a minute; the longest "
        "such gap",
        ("gap_s", "poll_s", "gaps"),
        "Check that the collector runs and reaches the server; what happened in the gap is not "
        "known.",
    ),
    FindingKind(
        "node_restarted",
        ("info", "warning"),
        "several tasks went back between the same two snapshots",
        ("tasks", "events"),
        "Find out why the data node went down (usually memory); the tasks start again.",
    ),
    FindingKind(
        "retries",
        ("info", "warning"),
        "tasks went back to the queue; a warning if at least 3 tasks and a tenth of all did",
        ("tasks", "times", "all_tasks"),
        "Look for the reason in the data nodes' logs; the tasks start again.",
    ),
    FindingKind(
        "unexplained_progress",
        ("warning",),
        "rows and progress of a running job fit no known scale of progress, or no single one; its "
        "phase is Unknown",
        ("progress_pct", "imported_rows", "total_rows"),
        "Do not rely on this job's phases and ETA. Please report this, with the server's version.",
    ),
    FindingKind(
        "builds_go_on",
        ("info",),
        "the job has completed, and by the metrics of its cluster index builds still wait or run "
        "(Milvus up to 2.4, which counts them by collection)",
        ("waiting_builds", "builds_at_work", "mean_build_s"),
        "Wait for them before you measure searches: until then segments are searched without an "
        "index.",
        explains=True,
    ),
    FindingKind(
        "collection_dropped",
        ("info",),
        "the job had completed, and the server failed it later because its collection was dropped",
        ("completed_at", "reason", "imported_rows"),
        "Nothing is wrong with the import: it completed, and its rows went with the collection.",
        explains=True,
    ),
    FindingKind(
        "progress_unreadable",
        ("info",),
        "the progress of a running job is not a number from 0 to 100",
        ("progress",),
        "Go by the state and the rows; servers send this if they divide by a total of zero.",
        explains=True,
    ),
    FindingKind(
        "restore",
        ("info",),
        "the files are binlogs of a backup, and no row has come for 5 minutes of Importing",
        ("waited_s",),
        "No hang as long as data nodes are at work: before the first row, delete logs are applied, "
        "which can take hours.",
        explains=True,
    ),
    FindingKind(
        "only_deletes",
        ("info",),
        "all files are delete logs",
        ("files",),
        "Its deletes count as total rows and never as imported ones: 0 rows, 40 or 70 % and files "
        "at 0 % are normal until it ends.",
        explains=True,
    ),
    FindingKind(
        "rows_of_files_fell",
        ("info",),
        "progress and rows of completed files went down, while the job's own did not",
        ("files",),
        "Nothing was lost: the numbers count segments that were sorted into new ones and are "
        "deleted hours later.",
    ),
    FindingKind(
        "same_file_twice",
        ("info",),
        "a file is listed more than once",
        ("file", "times"),
        "Its rows are imported each time; delete the surplus if that was not intended.",
    ),
    FindingKind(
        "wrong_totals",
        ("info",),
        "the files' ``total_rows`` add up to more than the job has",
        ("files_total_rows", "job_total_rows"),
        "Do not use the files' total_rows; their progress is right.",
    ),
)

#: The names of all kinds, in the order in which findings are shown.
FINDINGS: Final = tuple(kind.name for kind in FINDING_KINDS)
FINDING_DTYPE: Final = pd.CategoricalDtype(list(FINDINGS), ordered=True)
SEVERITY_DTYPE: Final = pd.CategoricalDtype(["info", "warning", "critical"], ordered=True)

#: All kinds by name.
KIND_OF: Final = {kind.name: kind for kind in FINDING_KINDS}
