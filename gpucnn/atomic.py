"""Files that are replaced in one step: the path holds the old bytes or the new ones at every moment."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path, op):
    """Open a new file for binary writing; at the end of the ``with`` block it takes the place of ``path``.

    It is written under another name in the same folder, synchronised with the disk and renamed. After an error the
    old file is as it was and the new one is gone; an OSError then says so, beginning with ``op``.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # Errors of reading, inside the block, name another file and stay what they are.
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            raise OSError(error.errno, f"{op}: {error.strerror}; what was there is kept", str(path)) from None
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
