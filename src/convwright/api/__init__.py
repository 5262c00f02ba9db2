"""The Python API: what `import convwright as cw` offers. Each task is one function.

Functions here import only what is light at the top of their modules; torch and other large libraries are imported when
a function needs them.
"""
