"""Every error livespot raises on purpose.

    LivespotError             something the user can act on; the command line prints it and exits with 2
    |-- SettingsError         a setting is unknown or out of range
    |-- SourceError           a camera, stream, file or folder cannot be opened or read
    |-- EngineError           a network file is missing, damaged or of another shape
    `-- PublishError          an endpoint cannot be bound or reached

A message says what came, what was expected, and what to do.
"""


class LivespotError(Exception):
    """Base of every error livespot raises on purpose."""


class SettingsError(LivespotError):
    """A setting is unknown, of the wrong type or out of range."""


class SourceError(LivespotError):
    """A source cannot be opened or read."""


class EngineError(LivespotError):
    """A network file is missing, damaged or does not fit."""


class PublishError(LivespotError):
    """An endpoint cannot be bound or reached."""
