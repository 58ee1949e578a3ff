from typing import Any

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "What we do"

    def ready(self) -> None:
        from clusters.offers import register  # noqa: PLC0415 (models are not loaded before)
        from clusters.signals import job_finished, quarantined_node_seen  # noqa: PLC0415
        from jobs import expiry, kept, offers, quarantine, restored, stream  # noqa: F401, PLC0415 (expiry is a task)
        from pgpanel import backup, live  # noqa: PLC0415

        live.register("job", stream.may_hear, stream.replay)
        register(offers.offers)
        backup.restored.connect(restored.settle, dispatch_uid="jobs-restored")
        job_finished.connect(kept.note_kept, dispatch_uid="jobs-note-kept")
        job_finished.connect(quarantine.heed_end, dispatch_uid="jobs-quarantine")
        quarantined_node_seen.connect(_fence, dispatch_uid="jobs-fence")


def _fence(node_id: int, **_more: Any) -> None:
    from jobs import tasks, zombies  # noqa: PLC0415 (models are not loaded before)

    if zombies.is_wanted(node_id):
        tasks.enqueue_fence(node_id)
