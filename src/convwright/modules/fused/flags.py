"""How the C++ sources of this folder are compiled. It imports nothing, since the build of a wheel reads it too."""

FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-fopenmp")
WIDE = "-mprefer-vector-width=512"
"""A flag that compilers for other processors do not accept."""
BASELINE = "baseline"
LEVELS = {
    "avx512": ("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mfma", WIDE),
    "avx2": ("-mavx2", "-mfma"),
    BASELINE: ("-Wno-psabi",),  # vectors wider than registers, which no function passes to another library
}
"""Flags by processor. The names begin those that torch gives the instructions of a processor; the baseline runs on
every processor of an architecture."""
PACKAGED = (
    ("kernels", "float", "float"),
    ("kernels", "bfloat16", "float"),
    ("winograd", "float", "float"),
    ("pointwise", "float", "float"),
    ("depthwise", "float", "float"),
    ("depthwise", "bfloat16", "float"),
)
"""Sources that wheels have in compiled form, with the types of stored maps and of the arithmetic."""
FOLDER = "compiled"
"""Folder of compiled libraries in a wheel, beside the sources."""


def types(stored: str, real: str) -> tuple[str, str]:
    """Return the flags that select the types of stored maps and of the arithmetic."""
    return f"-DSTORED={stored}", f"-DREAL={real}"


def file_name(name: str, stored: str) -> str:
    """Return the name of a compiled library in a wheel."""
    return f"{name}-{stored}.so"
