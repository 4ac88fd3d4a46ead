"""A Gateway on this machine, for a try: processes of this user, one password for all.

Started by ``GATEWAY_PASSWORD=... dask-gateway-server --config dask_gateway_config.py``.
"""

import os
import sys
from typing import Any

from dask_gateway_server.options import Float, Integer, Options


def sizes(options: Any) -> dict[str, Any]:
    """Turn what a client asks for into the size of its workers."""
    return {
        "worker_cores": options.worker_cores,
        "worker_memory": f"{options.worker_memory:g}G",
    }


def dask(part: str) -> list[str]:
    """Return the command that starts a part of Dask from this environment."""
    return [sys.executable, "-m", "dask", part]


c = get_config()  # noqa: F821 what the server gives to its config
port = int(os.environ.get("GATEWAY_PORT", "8000"))
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.SimpleAuthenticator.password = os.environ["GATEWAY_PASSWORD"]
c.DaskGateway.address = f"127.0.0.1:{port + 2}"
c.Proxy.address = f"127.0.0.1:{port}"
c.Proxy.tcp_address = f"127.0.0.1:{port + 1}"
c.ClusterConfig.scheduler_cmd = dask("scheduler")
c.ClusterConfig.worker_cmd = dask("worker")
c.ClusterConfig.idle_timeout = 600
c.ClusterConfig.cluster_max_workers = 4
c.LocalClusterConfig.environment = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
c.Backend.cluster_options = Options(
    Integer("worker_cores", default=1, min=1, max=4, label="Cores of a worker"),
    Float("worker_memory", default=2, min=0.5, max=8, label="Memory of a worker, GB"),
    handler=sizes,
)
