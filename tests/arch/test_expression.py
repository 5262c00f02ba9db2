"""Networks named by expressions: what they mean, and what is said of those that mean nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import convwright as cw
from convwright.arch import registry
from convwright.errors import NetworkError, UsageError


@pytest.mark.parametrize(
    ("expression", "built"),
    [
        ("resnet50|se:16", lambda n: cw.recalibrate(n, 16)),
        ("resnet50|se:reduction=16", lambda n: cw.recalibrate(n, 16)),
        ("resnet50|se:8,placement=pre,stages=1-3", lambda n: cw.recalibrate(n, 8, placement="pre", stages=[1, 2, 3])),
        ("resnet50|se:4,of=input,least=1,act=silu,gate=hardsigmoid",
         lambda n: cw.recalibrate(n, 4, of="input", least=1, act="silu", gate="hardsigmoid")),
        ("resnet50|se:none", lambda n: n),
        ("resnet50|se:off", lambda n: n),
        ("resnet50|scale:d=1.2,w=1.1,r=1.15", lambda n: cw.scale(n, 1.2, 1.1, 1.15)),
        ("resnet50|scale:r=0.5", lambda n: cw.scale(n, resolution=0.5)),
        ("resnet50|phi:1", lambda n: cw.compound(n, 1)),
        ("resnet50|phi:2,alpha=1.3,gamma=1", lambda n: cw.compound(n, 2, alpha=1.3, gamma=1)),
        ("resnet50|fit:32", lambda n: cw.fit_resolution(n, 32)),
        ("resnet50|fit:32,least=8", lambda n: cw.fit_resolution(n, 32, 8)),
        ("resnet50|resolution:160|channels:1|classes:10",
         lambda n: cw.at(n, resolution=160, classes=10, channels=1)),
        ("  ResNet50 | se : 16 | fit : 32 , least = 2 ", lambda n: cw.fit_resolution(cw.recalibrate(n, 16), 32, 2)),
    ],
)  # fmt: skip
def test_an_expression_is_the_operators_in_python(expression: str, built: object) -> None:
    expected = built(cw.network("resnet50"))  # type: ignore[operator]
    network = cw.network(expression)
    assert network == expected
    assert network.name == expected.name
    assert cw.network(network.name) == network


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "names no network"),
        ("|se:16", "names no network"),
        ("resnet51", "unknown network 'resnet51'; the nearest are resnet50"),
        ("eficientnet_b0", "the nearest are efficientnet_b0"),
        ("densenet-bc-l100-12", "the nearest are .*densenet_bc_l100_k12"),
        ("qqqqqqqq", "unknown network 'qqqqqqqq'; see 'convwright models'"),
        ("resnet50\n|se:16|zzz:1", "unknown operator 'zzz'"),
        ("x" * 10_000, "no name has more than"),
        ("cifar_resnet" + "9" * 5_000, "no name has more than"),
        ("resnet50|", "unknown operator ''"),
        ("resnet50|sel:16", "unknown operator 'sel' in 'sel:16'; known: se:16"),
        ("resnet50|scales:d=1", "known: scale:d=1.2"),
        ("resnet50|se", "malformed operator 'se'; write se:16"),
        ("resnet50|se:", "malformed operator 'se:'"),
        ("resnet50|se:sixteen", "'sixteen' is not a valid value of 'reduction'"),
        ("resnet50|se:placement=pre", "malformed operator"),
        ("resnet50|se:16,8", "malformed operator"),
        ("resnet50|se:16,reduction=8", "'reduction' is given twice"),
        ("resnet50|se:16,place=pre", "'place' is not an option of it"),
        ("resnet50|se:16,placement=inside", "unknown placement 'inside'.*standard, pre, post, identity"),
        ("resnet50|se:16,act=cosine", "unknown activation 'cosine'"),
        ("resnet50|se:16,gate=cosine", "unknown activation 'cosine'"),
        ("resnet50|se:16,of=all", "'gated' or 'input'"),
        ("resnet50|se:0", "a reduction ratio must be a number from 1"),
        ("resnet50|se:nan", "a reduction ratio must be a number from 1"),
        ("resnet50|se:16,least=0", "squeezed width of squeeze-and-excitation must be 1 or more"),
        ("resnet50|se:16,stages=9", "has stages 1 to 4, not 9"),
        ("resnet50|se:16,stages=3-5", "has stages 1 to 4, not 5"),
        ("resnet50|se:16,stages=3-1", "'3-1' is not a valid value of 'stages'"),
        ("resnet50|se:16,stages=1-", "'1-' is not a valid value of 'stages'"),
        ("resnet50|se:16,stages=stage9", "has no stage 'stage9'; it has stage1, stage2"),
        ("resnet50|se:16,stages=1-9999999999", "has stages 1 to 4, not 5"),
        ("densenet121|se:16,stages=transition1", "transition1 has no place for squeeze-and-excitation; dense1"),
        ("resnet50|scale:1.2", "malformed operator 'scale:1.2'; write scale:d=1.2"),
        ("resnet50|scale:", "malformed operator"),
        ("resnet50|scale:d=", "'' is not a valid value of 'd'"),
        ("resnet50|scale:d=1.2,d=1.3", "'d' is given twice"),
        ("resnet50|scale:d=0", "a depth factor must be above 0"),
        ("resnet50|scale:w=1e9", "a width factor must be above 0 and at most 100"),
        ("resnet50|scale:r=nan", "a resolution factor"),
        ("resnet50|scale:d=100|scale:d=100", "blocks are too many"),
        ("densenet121|scale:r=0.01", "a resolution of 2 is too small: at transition1"),
        ("resnet50|phi:", "malformed operator 'phi:'; write phi:1"),
        ("resnet50|phi:alpha=2", "malformed operator"),
        ("resnet50|phi:inf", "phi must be a number"),
        ("resnet50|phi:1,alpha=0.5", "alpha must be a number from 1"),
        ("resnet50|fit:32.5", "'32.5' is not a valid value of 'resolution'"),
        ("resnet50|fit:-1", "fit: the resolution must be 1 or more, not -1"),
        ("resnet50|fit:32,least=0", "fit: least, the size of the last map, must be 1 or more, not 0"),
        ("resnet50|fit:99999999", "fit: the resolution must be at most 10,000,000, not 99999999"),
        ("resnet50|resolution:0", "resolution must be 1 or more"),
        ("densenet121|resolution:12", r"too small: at transition\d.*\|fit:12"),
        ("resnet50|classes:ten", "'ten' is not a valid value of 'classes'"),
        ("resnet50|classes:0", "classes must be 1 or more"),
        ("resnet50|channels:-3", "channels must be 1 or more"),
        ("resnet50|classes:" + "1" * 19, "classes must be at most 10,000,000, not 1111111111111111111"),
        ("resnet50|classes:" + "1" * 4000, "classes must be at most 10,000,000, not a number of about 4000 digits"),
        ("resnet50|classes:" + "1" * 5000, "is not a valid value of 'classes'"),
        ("resnet50|" + "x" * 5000, "unknown operator 'xxx"),
        ("resnet50|resolution:1e9", "'1e9' is not a valid value of 'resolution'"),
        ("resnet50|scale:d=1e300", "a depth factor must be above 0 and at most 100, not 1e"),
        ("resnet50|scale:d=-inf", "a depth factor must be above 0 and at most 100, not -inf"),
        ("resnet50|phi:1e9", "phi must be a number from -100 to 100, not 1000000000.0"),
        ("resnet50|phi:-1e300", "phi must be a number from -100 to 100"),
        ("resnet50|phi:nan", "phi must be a number from -100 to 100, not nan"),
        ("resnet50|phi:100", "a depth factor must be above 0 and at most 100"),
        ("resnet50|phi:1,alpha=inf", "alpha must be a number from 1 to 100, not inf"),
        ("resnet50|se:1e300", "a reduction ratio must be a number from 1 to 1e6"),
        ("resnet50|se:16,least=" + "1" * 4000, "squeezed width of squeeze-and-excitation must be at most 10,000,000"),
        ("efficientnet_b0|dropout:nan", "dropout must be a rate from 0 to under 1, not nan"),
        ("efficientnet_b0|stochastic_depth:-1e300", "stochastic_depth must be a rate from 0 to under 1"),
    ],
)
def test_errors_about_wrong_expressions_name_a_right_one(expression: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        cw.network(expression)
    assert len(str(caught.value)) < 600
    assert isinstance(caught.value, UsageError)
    assert caught.value.exit_status == 2


@given(
    st.text(max_size=30)
    | st.from_regex(r"resnet18(\|(se|scale|phi|fit|resolution):[a-z0-9=,.\-]{0,9}){1,2}", fullmatch=True)
)
def test_any_text_is_a_network_or_a_clear_error(text: str) -> None:
    try:
        network = cw.network(text)
    except NetworkError:  # any other error fails the test
        return
    assert cw.network(network.name) == network


def test_spelling_of_names_does_not_matter() -> None:
    for spelling in ("DenseNet-BC-L100-k12", "densenet bc l100 k12", " DENSENET_BC_L100_K12 ", "densenetbc_l100_k12"):
        assert cw.network(spelling) == cw.network("densenet_bc_l100_k12")


def test_a_name_stands_for_one_network() -> None:
    with pytest.raises(NetworkError, match="two networks are named resnet50"):
        registry.register("ResNet", "resnet50", lambda: cw.network("resnet50"))
