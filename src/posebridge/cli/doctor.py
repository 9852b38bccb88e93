"""``posebridge doctor``."""

from dataclasses import dataclass

from posebridge.errors import InputError


@dataclass(frozen=True)
class DoctorCommand:
    """Print what this machine has, and how to get what is missing."""

    def run(self) -> None:
        """Print a line for each requirement. Raises ``InputError`` where something is broken that every run needs."""
        from posebridge.deployment.doctor import examine

        broken: list[str] = []
        for finding in examine():
            print(finding, flush=True)
            if finding.state == "broken":
                broken.append(finding.subject)
        if broken:
            raise InputError(f"broken: {', '.join(broken)}; see the lines above")
