"""StratoVirt's errors: a chain of reasons, printed in its format."""

BACKTRACE = (
    "Stack backtrace:\n"
    "   0: anyhow::error::<impl anyhow::Error>::msg\n"
    "             at ./anyhow/src/backtrace.rs:10:14\n"
    "   1: stratovirt::main\n"
    "             at ./src/main.rs:38:11\n"
    "   2: _start"
)


class Refusal(Exception):
    """A chain of reasons, the outermost first."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(*reasons)
        self.reasons = reasons

    def within(self, *outer: str) -> "Refusal":
        """The same refusal with outer reasons added."""
        return Refusal(*outer, *self.reasons)

    @property
    def headline(self) -> str:
        """The outermost reason, the only one in a QMP error."""
        return self.reasons[0]

    def report(self) -> str:
        """The whole chain with `Caused by:` lines and a backtrace, as StratoVirt prints it."""
        text = self.reasons[0]
        causes = self.reasons[1:]
        if causes:
            text += "\n\nCaused by:"
        for number, cause in enumerate(causes):
            first, rest = (f"{number:>5}: ", " " * 7) if len(causes) > 1 else (" " * 4, " " * 4)
            text += "\n" + first + cause.replace("\n", "\n" + rest)
        return text + "\n\n" + BACKTRACE


def operating_system(error: OSError) -> str:
    """An error of the operating system in Rust's format."""
    return f"{error.strerror} (os error {error.errno})"
