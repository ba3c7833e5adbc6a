"""Files as text: what they are by their content, and reading them in a process with limits."""

from nodes.parsing.process import FileReader
from nodes.parsing.sniffing import file_type_of

__all__ = ["FileReader", "file_type_of"]
