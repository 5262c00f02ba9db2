"""Another name of `convwright.places`, for commands that have not moved yet."""

from convwright.places import check_file, check_folder, check_new_folder

__all__ = ["check_file", "check_folder", "check_new_folder"]
