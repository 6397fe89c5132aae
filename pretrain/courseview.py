"""A training run before it starts: its stages, and every setting with where it comes from."""

import sys

from longreach.model.choices import choices_json, print_choices
from longreach.tables import print_json, print_table
from pretrain.basemodel import BaseModel
from pretrain.course import Course, flops_of


def show_course(course: Course, base: BaseModel, *, as_json: bool) -> None:
    """Stages and settings, each with where it comes from."""
    tokens = course.choices["batch_tokens"].value
    stages = [
        {"seq_len": spec.seq_len, "rope": str(spec.rope), "steps": steps, "tokens": steps * tokens, "rows": len(rows)}
        for spec, rows, steps in zip(course.specs, course.rows, course.steps, strict=True)
    ]
    flops = flops_of(course, base.config)
    if as_json:
        settings = choices_json(course.choices)
        print_json({"base": base.name, "stages": stages, "settings": settings, "flops": flops, "notes": course.notes})
        return
    print_table(
        ("stage", "seq len", "rope", "steps", "tokens", "rows"),
        [(n, *each.values()) for n, each in enumerate(stages, 1)],
    )
    print_choices(course.choices)
    if flops:
        sys.stdout.write(
            f"{flops['total']:.3e} FLOPs, {flops['attention'] / flops['total']:.0%} of them attention; "
            f"{flops['paper']:.3e} as the paper counts (Sec. 4.4: a block of 12 h^2, no head)\n"
        )
    for note in course.notes:
        sys.stderr.write(f"note: {note}\n")
