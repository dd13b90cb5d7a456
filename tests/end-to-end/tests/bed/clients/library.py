"""What scripts do with python-gitlab: runners, jobs and pipelines of a project that has a pipeline of two jobs.

Arguments: URL, token.
"""

import sys

import gitlab

url, token = sys.argv[1:]
client = gitlab.Gitlab(url, private_token=token, retry_transient_errors=False)
client.auth()
assert client.user.username == "root", client.user
assert client.version()[0].startswith("19."), client.version()
project = client.projects.get("hpc/solver")

runner = client.user.runners.create(
    {"runner_type": "project_type", "project_id": project.id, "tag_list": ["gpu", "big"], "description": "made"}
)
assert runner.token.startswith("glrt-"), runner
listed = [item.id for item in project.runners.list(iterator=True)]
assert runner.id in listed, listed
details = client.runners.get(runner.id)
assert sorted(details.tag_list) == ["big", "gpu"], details
client.runners.update(runner.id, {"paused": True, "maintenance_note": "noted"})
details = client.runners.get(runner.id)
assert (details.paused, details.maintenance_note) == (True, "noted"), details
assert client.runners.list(type="project_type", tag_list=["gpu"], get_all=True)
client.runners.delete(runner.id)
try:
    client.runners.get(runner.id)
    raise SystemExit("a deleted runner can be read")
except gitlab.exceptions.GitlabGetError as error:
    assert error.response_code == 404, error

pipeline = project.pipelines.create({"ref": "main", "variables": [{"key": "A", "value": "b"}]})
names = sorted(job.name for job in pipeline.jobs.list(get_all=True))
assert names == ["first", "second"], names
pending = list(project.jobs.list(scope=["pending"], iterator=True, per_page=1))
assert len(pending) == 4, pending
keyset = project.jobs.list(
    scope="pending", pagination="keyset", order_by="id", sort="desc", per_page=1, iterator=True
)
assert [job.id for job in keyset] == [job.id for job in pending]
job = project.jobs.get(pending[0].id)
assert job.trace() == b"", job.trace()
job.cancel()
assert project.jobs.get(job.id).status == "canceled"
again = job.retry()
assert again["id"] != job.id, again
pipeline.cancel()
assert project.pipelines.get(pipeline.id).status == "canceled"

try:
    gitlab.Gitlab(url, private_token="glpat-wrong").auth()
    raise SystemExit("a wrong token is taken")
except gitlab.exceptions.GitlabAuthenticationError as error:
    assert error.response_code == 401, error
print("done")
