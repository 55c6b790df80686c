"""Cases of many beginnings and ends, in a row and at once. The guest programs do the same with few, in all modes."""


def expect_as_natively(ctx, *command):
    ctx.stage.timeout_s = max(ctx.stage.timeout_s, 120)       # it takes some 15 s on idle CPUs
    native, away = (ctx.run(ctx.stage.words(mode, list(command))) for mode in ("native", "remote"))
    ctx.expect(native[0] == 0 and native[2] == b"", f"natively: {native}")
    ctx.expect(away == native, f"away: {away}, natively {native}")


def case_ten_thousand_forks_in_a_row(ctx):
    expect_as_natively(ctx, ctx.guest("many_forks"), "1000" if ctx.user.uid == 0 else "10000", "0")


def case_a_thousand_children_at_once(ctx):
    expect_as_natively(ctx, ctx.guest("many_forks"), "0", "1000")


def case_a_storm_of_threads(ctx):
    expect_as_natively(ctx, ctx.guest("many_threads"), "1000", "500")
