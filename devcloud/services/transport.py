"""Lets listeners of `fake://` sleep until a message comes: oslo.messaging has each of them look 20 times a second."""

from __future__ import annotations

import threading
import time
from typing import Any

_LOOK = 5.0
"""Seconds after which a listener looks all the same."""


def wake_listeners() -> None:
    """Change oslo.messaging in this process; to be called when threads are patched and before anything listens."""
    from oslo_messaging._drivers import base, impl_fake

    arrived = threading.Condition()
    deliver, stop = impl_fake.FakeExchange.deliver_message, impl_fake.FakeListener.stop

    def wake() -> None:
        with arrived:
            arrived.notify_all()

    def deliver_and_wake(exchange: Any, *args: Any, **kwargs: Any) -> None:
        deliver(exchange, *args, **kwargs)
        wake()

    def stop_and_wake(listener: Any) -> None:
        stop(listener)
        wake()

    def take(listener: Any) -> Any:
        for target in listener._targets:
            exchange = listener._exchange_manager.get_exchange(target.exchange)
            context, message, replies, requeue = exchange.poll(target, listener._pool)
            if message is not None:
                return impl_fake.FakeIncomingMessage(context, message, replies, requeue)
        return None

    def poll(listener: Any, timeout: float | None = None) -> Any:
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        with arrived:
            while not listener._stopped.is_set():
                left = deadline - time.monotonic()
                if (message := take(listener)) is not None or left < 0:
                    return message
                arrived.wait(min(left, _LOOK))
        return None

    impl_fake.FakeExchange.deliver_message = deliver_and_wake
    impl_fake.FakeListener.stop = stop_and_wake
    impl_fake.FakeListener.poll = base.batch_poll_helper(poll)
