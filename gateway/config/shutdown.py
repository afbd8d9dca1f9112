"""The `shutdown` section: how a process leaves."""

from datetime import timedelta

from gateway.config.fields import Notice, Section, Wait


class Shutdown(Section):
    notice: Notice = timedelta(0)
    drain: Wait = timedelta(seconds=30)
