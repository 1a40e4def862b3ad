"""The two calls that are needed, signed, over one session whose connections are kept."""

import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
from pydantic import SecretStr
from yarl import URL

from benchmarks.alternatives.surroundings import Surroundings
from tasks.ehpc import actions
from tasks.ehpc.signature import Credentials, SigningRules, signed_query

OVER_QUOTA = 2500
BEING_CHANGED = 1400


class Refused(Exception):  # noqa: N818 - named by what the provider does
    def __init__(self, ret_code: int, message: str) -> None:
        self.ret_code = ret_code
        self.message = message
        super().__init__(f"{ret_code} {message}")

    @property
    def for_now(self) -> bool:
        """Whether to ask again after an interval."""
        return self.ret_code in (OVER_QUOTA, BEING_CHANGED)


class Provider:
    def __init__(self, given: Surroundings) -> None:
        self._url = given.api_url
        self._path = URL(given.api_url).path
        self._credentials = Credentials(given.access_key_id, SecretStr(given.secret_access_key))
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        await self._session.close()

    async def add_nodes(self, zone: str, cluster_id: str, node_count: int) -> str:
        """Gives the job's id. Raises Refused."""
        body = actions.add_nodes_body(
            cluster_id=cluster_id, zone=zone, node_role="compute", node_count=node_count
        )
        answer = await self._call(actions.add_nodes(zone, body))
        return str(answer["job_id"])

    async def job(self, zone: str, job_id: str) -> dict[str, Any] | None:
        """The job's row once it has ended; None while it goes, or when the answer does not say."""
        request = actions.list_jobs(zone, offset=0, newest_first=False, job_ids=job_id)
        try:
            answer = await self._call(request)
        except Refused:
            return None
        ended = (row for row in answer["job_set"] if row["status"] in ("successful", "failed"))
        return next(ended, None)

    async def _call(self, request: actions.ApiRequest) -> dict[str, Any]:
        query = signed_query(
            request.method,
            self._path + request.path,
            request.params,
            request.body,
            datetime.now(UTC),
            self._credentials,
            SigningRules(),
        )
        url = URL(f"{self._url}{request.path}?{query}", encoded=True)
        async with self._session.request(request.method, url, data=request.body or None) as response:
            answer: dict[str, Any] = json.loads(await response.read())
        if answer["ret_code"] != 0:
            raise Refused(answer["ret_code"], answer.get("message", ""))
        return answer
