"""JupyterLab's configuration; the token is read from a file that only its user can read, so no process shows it."""

from pathlib import Path

c = get_config()  # type: ignore[name-defined]  # noqa: F821  (Jupyter gives it to this file)
c.IdentityProvider.token = Path("/etc/jupyterlab/token").read_text().strip()
c.ServerApp.open_browser = False
c.ServerApp.port_retries = 0
c.ServerApp.quit_button = False
# Kernels listen on files of their user, not on ports.
c.KernelManager.transport = "ipc"
# Nodes may have no way to the internet, and what is installed is pinned.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
