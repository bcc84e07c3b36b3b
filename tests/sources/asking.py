"""Clients without patience, and what the servers of these tests answer."""

from canned import says

from importstats.sources.rest import ImportClient

NOT_FOUND = (404, {}, b"404 page not found")


def client_of(uri, **options):
    return ImportClient(uri, **{"retries": 0, "timeout": 20, **options})


def job(job_id="7", **sent):
    return says(
        {"code": 0, "data": {"jobId": job_id, "state": "Importing", "progress": 50, **sent}}
    )


def listing(*job_ids, **more):
    records = [{"jobId": job_id, "state": "Importing"} for job_id in job_ids]
    return says({"code": 0, "data": {"records": records, **more}})


def asked(server):
    return [path.rsplit("/", 1)[1] for _, path, _, _ in server.requests]
