"""Run one service of the devcloud in this process: `python -m devcloud.services.serve NAME`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from devcloud.layout import PORTS, Cloud
from devcloud.services import transport

CLOUD = Cloud.from_environment(os.environ, os.environ["DEVCLOUD_DRIVER"])
_PAUSE = 0.05


def _serve(application: Any, service: str) -> None:
    import waitress

    waitress.serve(
        application, host=CLOUD.address, port=PORTS[service], threads=8, connection_limit=1000, channel_timeout=600
    )


def keystone() -> None:
    """Serve Keystone."""
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = str(CLOUD.etc / "keystone")
    sys.argv = ["keystone"]
    from keystone.server import wsgi

    _serve(wsgi.initialize_public_application(), "keystone")


def placement() -> None:
    """Serve Placement."""
    sys.argv = ["placement"]
    from placement import wsgi

    _serve(wsgi.init_application(), "placement")


def glance() -> None:
    """Serve Glance."""
    sys.argv = ["glance-api", "--config-file", str(CLOUD.etc / "glance" / "glance-api.conf")]
    from glance.cmd import api

    api.main()


def neutron() -> None:
    """Serve Neutron, without agents."""
    os.environ["OS_NEUTRON_CONFIG_DIR"] = str(CLOUD.etc / "neutron")
    os.environ["OS_NEUTRON_CONFIG_FILES"] = "neutron.conf;ml2.conf"
    sys.argv = ["neutron-api"]
    from neutron import policy
    from neutron.cmd.server import main_api_uwsgi

    application = main_api_uwsgi()
    # Neutron reads its policy with the first request; one that comes meanwhile sees none, and so no external network.
    policy.init()
    _serve(application, "neutron")


def _prepare_nova() -> Any:
    import nova.monkey_patch

    # The patches have to come before everything that opens sockets.
    sys.argv = ["nova", "--config-file", str(CLOUD.etc / "nova" / "nova.conf")]
    import nova.conf
    import nova.virt
    from nova import config, objects
    from oslo_log import log

    # Nova loads nothing but nova.virt.<compute_driver>.
    nova.virt.__path__.append(str(Path(__file__).parent / "virt"))
    transport.wake_listeners()
    config.parse_args(sys.argv)
    log.setup(nova.conf.CONF, "nova")
    objects.register_all()
    return nova.conf.CONF


def nova() -> None:
    """Run Nova's conductor, scheduler, compute service and API in this one process: so fake:// is transport enough."""
    settings = _prepare_nova()
    import eventlet
    import os_brick
    import os_vif
    from nova import context, objects, service
    from nova.compute import rpcapi as compute
    from nova.conductor import rpcapi as conductor
    from nova.objects import host_mapping
    from nova.scheduler import rpcapi as scheduler
    from oslo_service import service as oslo_service

    os_brick.setup(settings)
    os_vif.initialize()
    objects.Service.enable_min_version_cache()
    launcher = oslo_service.ServiceLauncher(settings)
    for binary, rpc in (("nova-conductor", conductor), ("nova-scheduler", scheduler), ("nova-compute", compute)):
        launcher.launch_service(service.Service.create(binary=binary, topic=rpc.RPC_TOPIC))
    eventlet.sleep(0)
    host_mapping.discover_hosts(context.get_admin_context())
    launcher.launch_service(service.WSGIService("osapi_compute"))
    launcher.wait()


def nova_tables() -> None:
    """Make the tables and cells of Nova in one interpreter."""
    settings = _prepare_nova()
    from nova.cmd import manage

    def database(name: str) -> str:
        return str(settings.database.connection).replace("/nova_cell1?", f"/{name}?")

    cells = manage.CellV2Commands()
    for failed in (
        manage.ApiDbCommands().sync(),
        cells.map_cell0(database("nova_cell0")),
        manage.DbCommands().sync(),
        cells.create_cell("cell1", database("nova_cell1"), "fake:///"),
    ):
        if failed:
            raise SystemExit(1)


def _prepare_cinder() -> Any:
    sys.argv = ["cinder", "--config-file", str(CLOUD.etc / "cinder" / "cinder.conf")]
    # This makes the patches, which have to come before everything that opens sockets.
    import cinder.cmd.api

    settings = cinder.cmd.api.CONF
    import os_brick
    from cinder import coordination, objects, rpc, version
    from cinder.common import config
    from oslo_log import log

    transport.wake_listeners()
    objects.register_all()
    settings(sys.argv[1:], project="cinder", version=version.version_string())
    config.set_middleware_defaults()
    log.setup(settings, "cinder")
    os_brick.setup(settings)
    coordination.COORDINATOR.start()
    rpc.init(settings)
    return settings


def cinder() -> None:
    """Run Cinder's volume service, scheduler and API in this one process: so fake:// is transport enough."""
    settings = _prepare_cinder()
    import eventlet
    from cinder import service
    from oslo_service import service as oslo_service

    class Service(service.Service):
        """Reports its own state: Cinder's services report that of the one which was started last in their process."""

        def report_state(self) -> None:
            service.Service.service_id = self.origin_service_id
            super().report_state()

    launcher = oslo_service.ServiceLauncher(settings)
    backend = settings.enabled_backends[0]
    volumes = Service.create(binary="cinder-volume", host=f"{settings.host}@{backend}", service_name=backend)
    launcher.launch_service(volumes)
    # As it starts, the scheduler asks for the capacity of what is there, and then waits a minute for an answer.
    while volumes.backend_rpcserver is None:
        eventlet.sleep(_PAUSE)
    launcher.launch_service(Service.create(binary="cinder-scheduler"))
    launcher.launch_service(service.WSGIService("osapi_volume"))
    launcher.wait()


def heat() -> None:
    """Run Heat's engine and both APIs in this process, started one after the other: they race on a global."""
    sys.argv = ["heat-all", "--config-file", str(CLOUD.etc / "heat" / "heat.conf")]
    from heat import version
    from heat.cmd import all as heat_all
    from heat.common import config, messaging
    from oslo_config import cfg
    from oslo_log import log

    transport.wake_listeners()
    log.register_options(cfg.CONF)
    cfg.CONF(project="heat", prog="heat-all", version=version.version_info.version_string())
    log.setup(cfg.CONF, "heat-all")
    config.set_config_defaults()
    messaging.setup()
    services = [heat_all.LAUNCH_SERVICES[name][0](setup_logging=False) for name in ("engine", "api_cfn", "api")]
    for service in services:
        service.wait()


_SERVICES = {
    run.__name__.replace("_", "-"): run
    for run in (keystone, placement, glance, neutron, cinder, nova, heat, nova_tables)
}

if __name__ == "__main__":
    _SERVICES[sys.argv[1]]()
