"""What mix and sft show before anything is trained: the mix, its picture, and every setting with its origin."""

import sys

from finetune.basemodel import base_model
from finetune.config import MixSettings
from finetune.course import Course, plan_course
from finetune.mixview import draw_mix, mix_view, print_mix
from longreach.config import written
from longreach.model.choices import choices_json, print_choices
from longreach.run import RunFolder
from longreach.tables import print_json

PICTURE = "mix.png"


def show_mix(settings: MixSettings, *, as_json: bool) -> None:
    """records + short chats -> token-exact mix -> a table and a picture."""
    base = base_model(settings)
    with RunFolder(settings.folder) as folder:
        claim_settings(folder, settings)
        show_course(plan_course(base), as_json=as_json)


def claim_settings(folder: RunFolder, settings: MixSettings) -> None:
    """Refuse a folder of other settings before its data is touched."""
    manifest = folder.manifest()
    before = manifest.get("settings", {})
    changed = {name: value for name, value in written(settings, shaping_only=True).items() if value != before.get(name)}
    if before:
        folder.claim({**manifest.get("shaping", {}), **changed})


def show_course(course: Course, *, as_json: bool, quiet: bool = False) -> None:
    """The tables on stdout or as JSON, `quiet` where stdout is for what comes after; the picture under --out."""
    picture = course.base.settings.folder / PICTURE
    draw_mix(course.plan, course.data.train, course.seq_len, picture)
    view = mix_view(course.plan, course.batches, course.data.train, course.data.facts, course.notes)
    if quiet:
        for note in course.notes:
            sys.stderr.write(f"note: {note}\n")
    elif as_json:
        print_json({**view.as_json(), "settings": choices_json(course.choices), "picture": str(picture)})
    else:
        print_mix(view)
        print_choices(course.choices)
        sys.stderr.write(f"lengths before and after the mix: {picture}\n")
