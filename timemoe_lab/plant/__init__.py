"A trained run at work: whole fleets, motors as they run, other people's tools."

__all__: list[str] = []
