"""The kernels of the Triton engine; see `softtargets.engine.triton`.

Arguments are tuples. A matrix is (pointer, outer stride, inner stride, class stride); a table
(pointer, number of rows, row stride, class stride, row of each sample, weight of each sample);
dense rows a matrix and the weight of each sample; entries (classes, weights, how many); results
(losses, log-partition, scalars, logits of the entries); statistics (label of each sample, sums,
counts). What a call does without is None or ().
Offsets are int64 where a sample is in them, and in the classes where `WIDE` says so.
"""

# Kernels are a language of their own, untyped; tuples grow by `+` in it.
# mypy: disable-error-code="untyped-decorator, no-untyped-def, var-annotated, assignment"
# ruff: noqa: RUF005

import triton
import triton.language as tl


@triton.jit
def _positions(inner_size, ROWS: tl.constexpr):
    """The outer index, inner indices, samples and valid rows of this program, in int64."""
    pid = tl.program_id(0)
    tiles = tl.cdiv(inner_size, ROWS)
    outer = (pid // tiles).to(tl.int64)
    rows = (pid % tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    return outer, rows, outer * inner_size + rows, rows < inner_size


@triton.jit
def _columns(start, COLS: tl.constexpr, WIDE: tl.constexpr):
    cols = start + tl.arange(0, COLS)[None, :]
    if WIDE:
        cols = cols.to(tl.int64)
    return cols


@triton.jit
def _row_base(matrix, outer, rows):
    return (matrix[0] + outer * matrix[1] + rows * matrix[2])[:, None]


@triton.jit
def _dense_bases(dense, outer, rows):
    bases = ()
    for i in tl.static_range(len(dense)):
        bases = bases + (_row_base(dense[i], outer, rows),)
    return bases


@triton.jit
def _dense_weights(dense, sample, valid):
    weights = ()
    for i in tl.static_range(len(dense)):
        weights = weights + (tl.load(dense[i][4] + sample, mask=valid, other=0.0)[:, None],)
    return weights


@triton.jit
def _table_bases(tables, sample, valid):
    bases = ()
    for i in tl.static_range(len(tables)):
        row = tl.load(tables[i][4] + sample, mask=valid, other=0)
        row = tl.where((row >= 0) & (row < tables[i][1]), row, 0)
        bases = bases + ((tables[i][0] + row * tables[i][2])[:, None],)
    return bases


@triton.jit
def _class_values(operands, bases, cols, inside, ACC: tl.constexpr):
    values = ()
    for i in tl.static_range(len(operands)):
        value = tl.load(bases[i] + cols * operands[i][3], mask=inside, other=0.0)
        values = values + (value.to(ACC),)
    return values


@triton.jit
def _living_logits(logits, base, mask, mask_base, cols, inside, ACC: tl.constexpr):
    """Logits at some classes, `-inf` where masked and outside."""
    z = tl.load(base + cols * logits[3], mask=inside, other=float("-inf")).to(ACC)
    if mask is not None:
        kept = tl.load(mask_base + cols * mask[3], mask=inside, other=0)
        z = tl.where(kept != 0, z, float("-inf"))
    return z


@triton.jit
def _add_statistics(
    statistics, label, teaches, logits, base, mask, mask_base, highest, total_sum, num_classes,
    ACC: tl.constexpr, COLS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Add the softmax of rows that teach, read again from cache, to the sums of their labels."""
    kind: tl.constexpr = statistics[1].dtype.element_ty
    row = tl.where(teaches, label, 0)
    sums = (statistics[1] + row * num_classes)[:, None]
    # Not `exp(z - partition)`, which rounds as coarsely as the partition is large.
    scale = (1.0 / tl.where(teaches, total_sum, 1.0))[:, None]
    for start in range(0, num_classes, COLS):
        cols = _columns(start, COLS, WIDE)
        inside = teaches[:, None] & (cols < num_classes)
        z = _living_logits(logits, base, mask, mask_base, cols, inside, ACC)
        probs = tl.exp(z - highest[:, None]) * scale
        tl.atomic_add(sums + cols, probs.to(kind), mask=inside & (probs > 0), sem="relaxed")
    one = tl.where(teaches, 1.0, 0.0).to(kind)
    tl.atomic_add(statistics[2] + row, one, mask=teaches, sem="relaxed")


@triton.jit
def forward_kernel(
    logits, mask, weight, uniform, entries, tables, dense, results, statistics, inner_size,
    num_classes, CORRECT_ONLY: tl.constexpr, ACC: tl.constexpr, LOWEST: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, SINGLES: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Write the losses and what the backward pass needs, in one pass over the logits.

    With statistics, rows that teach are swept once more.
    """
    TABLES: tl.constexpr = len(tables)
    DENSE: tl.constexpr = len(dense)
    # A table row whose living classes hold nothing is spread evenly over them.
    FLAT: tl.constexpr = (uniform is not None) or (TABLES > 0)
    outer, rows, sample, valid = _positions(inner_size, ROWS)
    base = _row_base(logits, outer, rows)
    mask_base = None
    if mask is not None:
        mask_base = _row_base(mask, outer, rows)
    table_bases = _table_bases(tables, sample, valid)
    dense_bases = _dense_bases(dense, outer, rows)
    dense_weights = _dense_weights(dense, sample, valid)
    if statistics is not None:
        label = tl.load(statistics[0] + sample, mask=valid, other=-1)
        teaches = (label >= 0) & (label < num_classes)
        if CORRECT_ONLY:
            # A prediction is right unless a class beats the label's: a larger logit, or an equal
            # one before it. One bit per lane instead of a running argmax.
            here = teaches[:, None]
            z_own = _living_logits(logits, base, mask, mask_base, label[:, None], here, ACC)
            own = label.to(tl.int32)[:, None]
            beaten = tl.zeros([ROWS, COLS], tl.int1)

    zero = tl.zeros([ROWS, COLS], ACC)
    top = tl.full([ROWS, COLS], LOWEST, ACC)
    total = zero
    living = tl.zeros([ROWS, COLS], tl.int32)
    flat_mass = zero
    flat_dot = zero
    # Per table row: sum of all v, of living v, of living w v, of living w v z.
    table_sums = ()
    for _ in tl.static_range(TABLES):
        table_sums = table_sums + ((zero, zero, zero, zero),)
    # Per dense row: is there a v != 0, sum of w v, of w v z.
    dense_sums = ()
    for _ in tl.static_range(DENSE):
        dense_sums = dense_sums + ((zero, zero, zero),)

    for start in range(0, num_classes, COLS):
        cols = _columns(start, COLS, WIDE)
        inside = valid[:, None] & (cols < num_classes)
        z = _living_logits(logits, base, mask, mask_base, cols, inside, ACC)
        difference = z - top
        decay = tl.exp(-tl.abs(difference))
        total = tl.where(difference > 0, total * decay + 1, total + decay)
        top = tl.where(difference > 0, z, top)
        if statistics is not None and CORRECT_ONLY:
            beaten = beaten | (z > z_own) | ((z == z_own) & (cols < own))
        w = 1.0
        if weight is not None:
            w = tl.load(weight + cols, mask=cols < num_classes, other=0.0)
        alive = z != float("-inf")
        if FLAT:
            safe = tl.where(alive, z, 0.0)
            living += alive.to(tl.int32)
            if weight is not None:
                flat_mass += tl.where(alive, w, 0.0)
            flat_dot += safe * w
            values = _class_values(tables, table_bases, cols, inside, ACC)
            sums = ()
            for i in tl.static_range(TABLES):
                v = values[i]
                alive_v = tl.where(alive, v, 0.0)
                mass, left, left_mass, dot = table_sums[i]
                if weight is not None:
                    left_mass += alive_v * w
                sums = sums + ((mass + v, left + alive_v, left_mass, dot + alive_v * w * safe),)
            table_sums = sums
        values = _class_values(dense, dense_bases, cols, inside, ACC)
        sums = ()
        for i in tl.static_range(DENSE):
            v = values[i]
            used, mass, dot = dense_sums[i]
            used = tl.where(v != 0, 1.0, used)
            v = v * w
            # A masked class counts only where mass is put on it; a row of weight 0 puts none.
            meets = alive | ((v != 0) & (dense_weights[i] != 0))
            dot += v * tl.where(meets, z, 0.0)
            sums = sums + ((used, mass + v, dot),)
        dense_sums = sums

    highest = tl.max(top, 1)
    total_sum = tl.sum(total * tl.exp(top - highest[:, None]), 1)
    has_class = total_sum != 0
    partition = highest + tl.log(tl.where(has_class, total_sum, 1.0))
    if statistics is not None:
        # Rows without a living class, with NaN or with an infinite logit teach nothing.
        teaches = teaches & (total_sum > 0) & (total_sum < float("inf"))
        if CORRECT_ONLY:
            teaches = teaches & (tl.max(beaten.to(tl.int32), 1) == 0)
        if tl.max(teaches.to(tl.int32), 0) != 0:
            _add_statistics(
                statistics, label, teaches, logits, base, mask, mask_base, highest, total_sum,
                num_classes, ACC, COLS, WIDE,
            )  # fmt: skip

    # The scalars of each term; the mass and the inner product of the whole target.
    width: tl.constexpr = 3 + TABLES
    saved = results[2] + sample * width
    counted = tl.zeros([ROWS], tl.int1)
    target_mass = tl.zeros([ROWS], ACC)
    target_dot = tl.zeros([ROWS], ACC)
    flat = tl.zeros([ROWS], ACC)
    if FLAT:
        count = tl.sum(living, 1)
        spread = 1.0 / tl.maximum(count, 1).to(ACC)
        if uniform is not None:
            uniform_weight = tl.load(uniform + sample, mask=valid, other=0.0)
            counted |= uniform_weight != 0
            flat += uniform_weight * spread
        for i in tl.static_range(TABLES):
            row_weight = tl.load(tables[i][5] + sample, mask=valid, other=0.0)
            row = tl.load(tables[i][4] + sample, mask=valid, other=0)
            # A row that is not in the table must show.
            row_weight = tl.where((row >= 0) & (row < tables[i][1]), row_weight, float("nan"))
            counted |= row_weight != 0
            mass = tl.sum(table_sums[i][0], 1)
            left = tl.sum(table_sums[i][1], 1)
            whole = count == num_classes
            empty = (left == 0) & (count < num_classes)
            scale = row_weight * tl.where(whole, 1.0, mass / tl.where(left == 0, 1.0, left))
            scale = tl.where(empty, 0.0, scale)
            flat += tl.where(empty, row_weight * mass * spread, 0.0)
            left_mass = left
            if weight is not None:
                left_mass = tl.sum(table_sums[i][2], 1)
            target_mass += scale * left_mass
            target_dot += scale * tl.sum(table_sums[i][3], 1)
            tl.store(saved + 3 + i, scale, mask=valid)
        if weight is not None:
            target_mass += flat * tl.sum(flat_mass, 1)
        else:
            target_mass += flat * count.to(ACC)
        target_dot += flat * tl.sum(flat_dot, 1)
    for i in tl.static_range(DENSE):
        row_weight = tl.max(dense_weights[i], 1)
        counted |= (row_weight != 0) & (tl.max(dense_sums[i][0], 1) != 0)
        target_mass += row_weight * tl.sum(dense_sums[i][1], 1)
        target_dot += row_weight * tl.sum(dense_sums[i][2], 1)
    if entries is not None:
        single = sample[:, None] * entries[2]
        for first in range(0, entries[2], SINGLES):
            j = first + tl.arange(0, SINGLES)[None, :]
            given = valid[:, None] & (j < entries[2])
            c = tl.load(entries[0] + single + j, mask=given, other=0)
            # A class out of range reads NaN, not foreign memory.
            known = given & (c >= 0) & (c < num_classes)
            z = tl.load(base + c * logits[3], mask=known, other=float("nan")).to(ACC)
            if mask is not None:
                kept = tl.load(mask_base + c * mask[3], mask=known, other=1)
                z = tl.where(kept != 0, z, float("-inf"))
            factor = tl.load(entries[1] + single + j, mask=given, other=0.0)
            counted |= tl.max((factor != 0).to(tl.int32), 1) != 0
            if weight is not None:
                factor = factor * tl.load(weight + c, mask=known, other=0.0)
            meets = given & ((factor != 0) | (z != float("-inf")))
            target_mass += tl.sum(factor, 1)
            target_dot += tl.sum(factor * tl.where(meets, z, 0.0), 1)
            tl.store(results[3] + single + j, z, mask=given)

    counted = counted & has_class
    losses = tl.where(counted, target_mass * partition - target_dot, 0.0)
    tl.store(results[0] + sample, losses, mask=valid)
    tl.store(results[1] + sample, tl.where(has_class, partition, float("-inf")), mask=valid)
    tl.store(saved, target_mass, mask=valid)
    tl.store(saved + 1, flat, mask=valid)
    tl.store(saved + 2, counted.to(ACC), mask=valid)


@triton.jit
def _gradient(
    z, own, cols, inside, scalars, weight, tables, table_bases, scales, dense, dense_bases,
    dense_weights, ACC: tl.constexpr,
):  # fmt: skip
    """`incoming * (mass * softmax - w q)` at some classes, where single entries are worth `own`."""
    partition, incoming, mass, flat, counted = scalars
    alive = z != float("-inf")
    q = own + tl.where(alive, flat, 0.0)
    values = _class_values(tables, table_bases, cols, inside, ACC)
    for i in tl.static_range(len(tables)):
        q += tl.where(alive, scales[i] * values[i], 0.0)
    values = _class_values(dense, dense_bases, cols, inside, ACC)
    for i in tl.static_range(len(dense)):
        q += dense_weights[i] * values[i]
    if weight is not None:
        q *= tl.load(weight + cols, mask=inside, other=0.0)
    return tl.where(counted, incoming * (mass * tl.exp(z - partition) - q), 0.0)


@triton.jit
def backward_kernel(
    logits, mask, weight, entries, tables, dense, results, incoming, grad, inner_size, num_classes,
    ACC: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, SINGLES: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """Write the gradient, in one pass; `grad` may be the logits."""
    width: tl.constexpr = 3 + len(tables)
    outer, rows, sample, valid = _positions(inner_size, ROWS)
    base = _row_base(logits, outer, rows)
    grad_base = _row_base(grad, outer, rows)
    if mask is not None:
        mask_base = _row_base(mask, outer, rows)
    table_bases = _table_bases(tables, sample, valid)
    dense_bases = _dense_bases(dense, outer, rows)
    saved = results[2] + sample * width
    counted = tl.load(saved + 2, mask=valid, other=0.0) != 0
    # The partition of a row without a living class is -inf; 0 keeps NaN out.
    partition = tl.where(counted, tl.load(results[1] + sample, mask=valid, other=0.0), 0.0)
    scalars = (
        partition[:, None],
        tl.load(incoming + sample, mask=valid, other=0.0)[:, None],
        tl.load(saved, mask=valid, other=0.0)[:, None],
        tl.load(saved + 1, mask=valid, other=0.0)[:, None],
        counted[:, None],
    )
    scales = ()
    for i in tl.static_range(len(tables)):
        scales = scales + (tl.load(saved + 3 + i, mask=valid, other=0.0)[:, None],)
    dense_weights = _dense_weights(dense, sample, valid)

    for start in range(0, num_classes, COLS):
        cols = _columns(start, COLS, WIDE)
        inside = valid[:, None] & (cols < num_classes)
        z = tl.load(base + cols * logits[3], mask=inside, other=float("-inf")).to(ACC)
        if mask is not None:
            kept = tl.load(mask_base + cols * mask[3], mask=inside, other=0) != 0
            z = tl.where(kept, z, float("-inf"))
        own = tl.zeros([ROWS, COLS], ACC)
        value = _gradient(
            z, own, cols, inside, scalars, weight, tables, table_bases, scales, dense, dense_bases,
            dense_weights, ACC,
        )  # fmt: skip
        if mask is not None:
            value = tl.where(kept, value, 0.0)
        out = grad_base + cols * grad[3]
        tl.store(out, value.to(grad[0].dtype.element_ty), mask=inside)

    if entries is not None:
        # The classes with entries are written again, whole: from the logits that the forward pass
        # has kept, the loop may have overwritten them. Other threads' stores must have landed.
        tl.debug_barrier()
        single = sample[:, None] * entries[2]
        for first in range(0, entries[2], SINGLES):
            j = first + tl.arange(0, SINGLES)[None, :]
            given = valid[:, None] & (j < entries[2])
            c = tl.load(entries[0] + single + j, mask=given, other=0)
            known = given & (c >= 0) & (c < num_classes)
            z = tl.load(results[3] + single + j, mask=known, other=0.0)
            own = tl.zeros([ROWS, SINGLES], ACC)
            # Entries of one class add up; each of them writes the same sum.
            for at in range(entries[2]):
                other = tl.load(entries[0] + single + at, mask=valid[:, None], other=-1)
                factor = tl.load(entries[1] + single + at, mask=valid[:, None], other=0.0)
                own += tl.where(c == other, factor, 0.0)
            value = _gradient(
                z, own, c, known, scalars, weight, tables, table_bases, scales, dense, dense_bases,
                dense_weights, ACC,
            )  # fmt: skip
            if mask is not None:
                kept = tl.load(mask_base + c * mask[3], mask=known, other=0)
                value = tl.where(kept != 0, value, 0.0)
            out = grad_base + c * grad[3]
            tl.store(out, value.to(grad[0].dtype.element_ty), mask=known)
