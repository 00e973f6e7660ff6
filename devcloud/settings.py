"""The settings of OpenStack's services and of MariaDB, as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from devcloud.layout import ENGINE, PORTS, Cloud
from devcloud.passwords import Passwords

Section = Mapping[str, object]
Sections = Mapping[str, Section]

_DRIVERS = {ENGINE: "engine_driver.EngineDriver", "fake": "fake.FakeDriverWithoutFakeNodes"}
_BACKEND = "files"


class Settings:
    """The settings of one cloud: sections of options, a method a file."""

    def __init__(self, cloud: Cloud, passwords: Passwords) -> None:
        self._cloud = cloud
        self._passwords = passwords

    # --- what services have in common ------------------------------------------------------------------------

    def _common(self, service: str) -> dict[str, object]:
        return {"log_file": self._cloud.log / f"{service}.log", "use_stderr": False}

    def _connection(self, name: str) -> dict[str, object]:
        account = f"root:{self._passwords.database}"
        socket = self._cloud.database_socket
        return {
            "connection": f"mysql+pymysql://{account}@localhost/{name}?unix_socket={socket}",
            "max_pool_size": 10,
            "max_overflow": 40,
            "pool_timeout": 60,
        }

    def _account(self, user: str = "admin", project: str = "admin") -> dict[str, object]:
        return {
            "auth_type": "password",
            "auth_url": self._cloud.url("keystone") + "/v3",
            "username": user,
            "password": self._passwords.heat if user == "heat" else self._passwords.admin,
            "user_domain_name": "Default",
            "project_name": project,
            "project_domain_name": "Default",
            "region_name": "RegionOne",
        }

    def _token_check(self, user: str = "admin", project: str = "admin") -> dict[str, object]:
        return {**self._account(user, project), "service_token_roles_required": True}

    def _locks(self, service: str) -> dict[str, object]:
        return {"lock_path": self._cloud.run / f"{service}-locks"}

    def _paste(self, path: str) -> Path:
        return self._cloud.venv / "etc" / path

    # --- services --------------------------------------------------------------------------------------------

    def keystone(self) -> Sections:
        """Return Keystone's settings."""
        keys = self._cloud.state / "keystone"
        return {
            "DEFAULT": {**self._common("keystone"), "public_endpoint": self._cloud.url("keystone") + "/"},
            "database": self._connection("keystone"),
            "token": {"provider": "fernet", "expiration": 86400},
            "fernet_tokens": {"key_repository": keys / "fernet-keys"},
            "credential": {"key_repository": keys / "credential-keys"},
            # The fewest rounds: every service and every wait condition logs in by password.
            "identity": {"password_hash_algorithm": "bcrypt", "password_hash_rounds": 4},
            # Not dogpile.cache.memory: with it, deleting credentials answers 500.
            "cache": {"enabled": True, "backend": "dogpile.cache.memory_pickle"},
        }

    def placement(self) -> Sections:
        """Return Placement's settings."""
        return {
            "DEFAULT": self._common("placement"),
            "api": {"auth_strategy": "keystone"},
            "placement_database": self._connection("placement"),
            "keystone_authtoken": self._token_check(),
        }

    def glance(self) -> Sections:
        """Return Glance's settings: files in a folder."""
        images = self._cloud.state / "glance"
        return {
            "DEFAULT": {
                **self._common("glance"),
                "bind_host": self._cloud.address,
                "bind_port": PORTS["glance"],
                "workers": 0,
                "enabled_backends": "fs:file",
                "enabled_import_methods": "[]",
                "transport_url": "fake:///",
            },
            "database": self._connection("glance"),
            "glance_store": {"default_backend": "fs"},
            "fs": {"filesystem_store_datadir": images / "images"},
            "os_glance_staging_store": {"filesystem_store_datadir": images / "staging"},
            "os_glance_tasks_store": {"filesystem_store_datadir": images / "tasks"},
            "paste_deploy": {"flavor": "keystone", "config_file": self._paste("glance/glance-api-paste.ini")},
            "keystone_authtoken": self._token_check(),
        }

    def neutron(self) -> Sections:
        """Return Neutron's settings: no agents, and the quotas of ordinary projects."""
        return {
            "DEFAULT": {
                **self._common("neutron"),
                "core_plugin": "ml2",
                "service_plugins": "router",
                "auth_strategy": "keystone",
                "api_paste_config": self._paste("neutron/api-paste.ini"),
                "state_path": self._cloud.state / "neutron",
                "transport_url": "fake:///",
                "notify_nova_on_port_status_changes": False,
                "notify_nova_on_port_data_changes": False,
                "dns_domain": "devcloud.",
                "pagination_max_limit": -1,
                "api_workers": 1,
                "rpc_workers": 0,
                # Its titles overwrite the environment, by which processes are found.
                "setproctitle": "off",
            },
            "agent": {"root_helper": ""},
            "database": self._connection("neutron"),
            "nova": self._account(),
            "placement": self._account(),
            "keystone_authtoken": self._token_check(),
            "oslo_concurrency": self._locks("neutron"),
            "quotas": {
                "quota_network": 20,
                "quota_subnet": 20,
                "quota_router": 20,
                "quota_port": 500,
                "quota_floatingip": 50,
                "quota_security_group": 50,
                "quota_security_group_rule": 500,
            },
        }

    def ports(self) -> Sections:
        """Return the settings of Neutron's ML2 plugin: ports are bound by devcloud's own mechanism driver."""
        return {
            "ml2": {
                "type_drivers": "local,flat,vlan,vxlan",
                "tenant_network_types": "vxlan",
                "mechanism_drivers": "devcloud",
                "extension_drivers": "port_security",
            },
            "ml2_type_vxlan": {"vni_ranges": "1:100000"},
            "ml2_type_flat": {"flat_networks": "*"},
            "securitygroup": {"enable_security_group": True},
        }

    def cinder(self) -> Sections:
        """Return the settings of all of Cinder's services, which are one process; a volume is a file."""
        return {
            "DEFAULT": {
                **self._common("cinder"),
                "my_ip": self._cloud.address,
                "host": "devcloud",
                "state_path": self._cloud.state / "cinder",
                "transport_url": "fake:///",
                "osapi_volume_listen": self._cloud.address,
                "osapi_volume_listen_port": PORTS["cinder"],
                "osapi_volume_workers": 1,
                "auth_strategy": "keystone",
                "api_paste_config": self._paste("cinder/api-paste.ini"),
                "resource_query_filters_file": self._paste("cinder/resource_filters.json"),
                "glance_api_servers": self._cloud.url("glance"),
                "enabled_backends": _BACKEND,
                "graceful_shutdown_timeout": 1,
                "rpc_response_timeout": 600,
                # Else the quotas are those of the day on which the tables were made.
                "use_default_quota_class": False,
                "quota_volumes": 50,
                "quota_gigabytes": 1000,
            },
            _BACKEND: {
                "volume_driver": "devcloud.services.volume_driver.FileDriver",
                "volume_backend_name": _BACKEND,
            },
            "database": self._connection("cinder"),
            "keystone_authtoken": self._token_check(),
            "nova": self._account(),
            "service_user": {**self._account(), "send_service_user_token": True},
            "oslo_concurrency": self._locks("cinder"),
            "coordination": {"backend_url": f"file://{self._cloud.run / 'cinder-locks'}"},
        }

    def nova(self) -> Sections:
        """Return the settings of all of Nova's services, which are one process."""
        return {
            "DEFAULT": {
                **self._common("nova"),
                "my_ip": self._cloud.address,
                "host": "devcloud",
                "state_path": self._cloud.state / "nova",
                "instances_path": self._cloud.state / "nova" / "instances",
                "compute_driver": _DRIVERS[self._cloud.driver],
                "transport_url": "fake:///",
                "osapi_compute_listen": self._cloud.address,
                "osapi_compute_listen_port": PORTS["nova"],
                "enabled_apis": "osapi_compute",
                "max_concurrent_builds": 20,
                "vif_plugging_is_fatal": False,
                "vif_plugging_timeout": 0,
                "reserved_host_memory_mb": 0,
                "graceful_shutdown_timeout": 1,
                "running_deleted_instance_action": "noop",
                "resume_guests_state_on_host_boot": self._cloud.driver == ENGINE,
                "sync_power_state_interval": -1,
                "rpc_response_timeout": 600,
                "force_config_drive": True,
                "default_access_ip_network_name": "",
            },
            "api": {
                "auth_strategy": "keystone",
                "max_limit": 10000,
                "instance_list_per_project_cells": False,
            },
            "wsgi": {"api_paste_config": self._paste("nova/api-paste.ini")},
            "api_database": self._connection("nova_api"),
            "database": self._connection("nova_cell1"),
            "keystone_authtoken": self._token_check(),
            "placement": self._account(),
            "neutron": {**self._account(), "http_retries": 3},
            # Servers that come back with the cloud have volumes, and Cinder starts beside Nova.
            "cinder": {**self._account(), "http_retries": 6},
            "glance": {"api_servers": self._cloud.url("glance"), "num_retries": 3},
            "service_user": {**self._account(), "send_service_user_token": True},
            "oslo_concurrency": self._locks("nova"),
            "vnc": {"enabled": False},
            "spice": {"enabled": False},
            "quota": {
                "instances": 128,
                "cores": 256,
                "ram": 524288,
                "key_pairs": 100,
                "server_groups": 50,
                "server_group_members": 200,
            },
            "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 60, "max_attempts": 3},
            "filter_scheduler": {
                "enabled_filters": "ComputeFilter,ComputeCapabilitiesFilter,"
                "ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter",
                "track_instance_changes": False,
            },
            "workarounds": {"skip_cpu_compare_on_dest": True},
        }

    def heat(self) -> Sections:
        """Return the settings of Heat's engine and its two APIs, which are one process."""
        cfn = self._cloud.url("heat-cfn")
        return {
            "DEFAULT": {
                **self._common("heat"),
                "host": "devcloud",
                "transport_url": "fake:///",
                "auth_encryption_key": self._passwords.heat_encryption,
                "deferred_auth_method": "trusts",
                "reauthentication_auth_method": "trusts",
                "trusts_delegated_roles": "",
                "stack_user_domain_name": "heat",
                "stack_domain_admin": "heat_domain_admin",
                "stack_domain_admin_password": self._passwords.heat_domain,
                "heat_metadata_server_url": cfn,
                "heat_waitcondition_server_url": cfn + "/v1/waitcondition",
                "region_name_for_services": "RegionOne",
                "environment_dir": self._cloud.etc / "heat" / "environment.d",
                "template_dir": self._cloud.etc / "heat" / "templates",
                "num_engine_workers": 1,
                "rpc_response_timeout": 600,
                # Heat asks after each server once a second; more at once would keep Nova too busy to make them.
                "executor_thread_pool_size": 16,
                "max_stacks_per_tenant": 30,
                # What is in the way of a delete does not go by itself on one machine; Heat would try for 67 s.
                "action_retry_limit": 3,
            },
            "heat_all": {"enabled_services": "engine,api,api_cfn"},
            # One worker: with none, a child a core is forked, and fake:// does not reach between processes.
            "heat_api": {"bind_host": self._cloud.address, "bind_port": PORTS["heat"], "workers": 1},
            "heat_api_cfn": {"bind_host": self._cloud.address, "bind_port": PORTS["heat-cfn"], "workers": 1},
            "paste_deploy": {"api_paste_config": self._paste("heat/api-paste.ini")},
            "database": self._connection("heat"),
            "keystone_authtoken": self._token_check("heat", "service"),
            "trustee": {
                key: value
                for key, value in self._account("heat").items()
                if key not in ("project_name", "project_domain_name", "region_name")
            },
            "clients_keystone": {"auth_uri": self._cloud.url("keystone")},
            "ec2authtoken": {**self._account("heat", "service"), "endpoint_override": self._cloud.url("keystone")},
            "clients": {"endpoint_type": "publicURL"},
            "oslo_concurrency": self._locks("heat"),
            "cache": {"enabled": True, "backend": "dogpile.cache.memory_pickle"},
        }

    def database(self) -> Sections:
        """Return MariaDB's settings: a unix socket, little memory."""
        return {
            "mariadbd": {
                "datadir": self._cloud.state / "mariadb",
                "socket": self._cloud.database_socket,
                "pid-file": self._cloud.run / "mariadbd.pid",
                "log-error": self._cloud.log / "mariadb.log",
                "skip-networking": 1,
                "skip-log-bin": 1,
                "performance_schema": "OFF",
                # A power cut may cost a devcloud its databases; nobody waits for disks.
                "innodb_flush_log_at_trx_commit": 0,
                "innodb_doublewrite": 0,
                "innodb_flush_method": "nosync",
                "sync_frm": "OFF",
                "innodb_buffer_pool_size": "64M",
                "innodb_log_file_size": "32M",
                "innodb_stats_on_metadata": 0,
                "max_connections": 400,
                "table_open_cache": 800,
                "character-set-server": "utf8mb4",
                "collation-server": "utf8mb4_general_ci",
                "tmpdir": "/tmp",
            },
        }
