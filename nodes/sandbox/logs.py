"""What user code prints, kept up to a limit."""

NOTE = "… [output cut off]"


class LogBuffer:
    """Collects printed text up to a number of UTF-8 bytes, then one note that there was more."""

    def __init__(self, bytes_max: int) -> None:
        self._pieces: list[str] = []
        self._left = bytes_max
        self._full = False

    def write(self, text: str) -> None:
        """Take text as it is; nothing after the limit."""
        if self._full:
            return
        data = text.encode("utf-8", "replace")
        if len(data) > self._left:
            self._full = True
            data = data[: self._left]
            text = data.decode("utf-8", "ignore") + NOTE
        self._left -= len(data)
        self._pieces.append(text)

    def text(self) -> str:
        """Return all that was kept, without the last line's end."""
        return "".join(self._pieces).removesuffix("\n")
