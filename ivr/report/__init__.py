"""The summary and report of a run; stages `report`, `status`."""
