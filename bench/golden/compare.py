"""Compares vectors made anew with the recorded ones, and checks that the comparison can fail.

A set of vectors is a dictionary: name -> numpy array (floats or integers), list, number, string or None.
"""
import numpy as np

# A tensor passes if max|new - recorded| <= VALUES * max(1, max|recorded|).
VALUES = 1e-5
# Gradients: max|new - recorded| <= GRADIENTS * max(max|recorded|, GRADIENT_FLOOR * the largest gradient of the file).
GRADIENTS = 1e-4
GRADIENT_FLOOR = 1e-3
# Scores and learning rates, in float64.
SCORES = 1e-12


def is_float(value):
    return isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


def limit(kind, recorded, top):
    """The largest difference that is accepted for one entry of kind `values`, `gradients` or `scores`; `top` is the file's largest."""
    size = float(np.max(np.abs(recorded), initial=0.0))
    if kind == "values":
        return VALUES * max(1.0, size)
    if kind == "gradients":
        return GRADIENTS * max(size, GRADIENT_FLOOR * top)
    return SCORES


def largest(entries):
    return max((float(np.max(np.abs(v), initial=0.0)) for v in entries.values() if is_float(v)), default=0.0)


def entry(kind, want, got, top):
    """The fault of one entry or None, and its difference as a share of the limit. `top` is the file's largest value."""
    if not (is_float(want) and is_float(got)):
        return (None if np.array_equal(want, got) else "not equal to the recorded value"), 0.0
    if np.shape(want) != np.shape(got):
        return f"shape {np.shape(got)}, recorded {np.shape(want)}", 0.0
    allowed = limit(kind, want, top)
    difference = float(np.max(np.abs(np.subtract(want, got, dtype=np.float64)), initial=0.0))
    # Written so that NaN is a fault.
    return (None if difference <= allowed else f"differs by {difference:.3g}, allowed {allowed:.3g}"), difference / allowed


def compare(kind, recorded, remade):
    """The faults, as lines of text, and the largest difference as a share of its limit."""
    faults = [f"{name}: recorded, but not made anew" for name in sorted(recorded.keys() - remade.keys())]
    faults += [f"{name}: made anew, but not recorded" for name in sorted(remade.keys() - recorded.keys())]
    top, worst = largest(recorded), 0.0
    for name in sorted(recorded.keys() & remade.keys()):
        fault, share = entry(kind, recorded[name], remade[name], top)
        worst = max(worst, share)
        if fault:
            faults.append(f"{name}: {fault}")
    return faults, worst


def changed(kind, value, top):
    """A copy of `value` with one wrong element: by more than two limits, or by one for an integer."""
    if is_float(value):
        step = 2.5 * limit(kind, value, top)
        if isinstance(value, float):
            return value + step
        value = value.astype(np.float64)
        value.flat[value.size // 2] += step
    elif isinstance(value, np.ndarray):
        value = value.copy()
        value.flat[value.size // 2] += 1
    elif isinstance(value, list):
        value = [*value[:-1], None]
    else:
        value = 0.0 if value is None else None
    return value


def unnoticed(kind, recorded, remade):
    """Names of entries in which a wrong element would not be reported. Empty unless the comparison is broken."""
    top = largest(recorded)
    return [name for name, value in recorded.items() if not entry(kind, changed(kind, value, top), remade[name], top)[0]]
