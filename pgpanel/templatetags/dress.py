"""Form widgets in the design kit's classes, so that no form has to know them."""

from __future__ import annotations

from typing import Any

from django import forms, template
from django.forms import BoundField
from django.utils.safestring import SafeString

register = template.Library()


def css_class(widget: forms.Widget) -> str:
    if isinstance(widget, forms.CheckboxInput):
        return "form-check-input"
    if isinstance(widget, forms.RadioSelect | forms.CheckboxSelectMultiple):
        return "form-check-input"
    return "form-select" if isinstance(widget, forms.Select) else "form-control"


@register.filter
def dressed(field: BoundField, is_first: str = "") -> SafeString:
    """The widget with the kit's class, its own classes kept, marked invalid where it has errors; focused where it comes first."""
    widget = field.field.widget
    own = widget.attrs.get("class", "")
    names = [own, css_class(widget), "is-invalid" if field.errors else ""]
    if widget.attrs.get("placeholder") == field.label:
        del widget.attrs["placeholder"]  # says nothing that the label does not
    attrs: dict[str, Any] = {"class": " ".join(name for name in names if name)}
    return field.as_widget(attrs=attrs | ({"autofocus": True} if is_first else {}))


@register.filter
def dressed_choices(field: BoundField) -> list[Any]:
    """Each radio button or checkbox of a list, with `tag`, `choice_label` and `id_for_label`."""
    widget = field.field.widget
    widget.attrs["class"] = f"{widget.attrs.get('class', '')} {css_class(widget)}".strip()
    return list(field.subwidgets)


@register.filter
def is_checkbox(field: BoundField) -> bool:
    return isinstance(field.field.widget, forms.CheckboxInput)


@register.filter
def is_choice_list(field: BoundField) -> bool:
    """Radio buttons or a list of checkboxes: rendered one by one, in a fieldset."""
    return isinstance(field.field.widget, forms.RadioSelect | forms.CheckboxSelectMultiple)
