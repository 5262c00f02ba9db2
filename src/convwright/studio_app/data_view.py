"""The tab Data: survey, contact sheet and augmented examples."""

from pydantic import BaseModel, ConfigDict, Field

from convwright.api.data import survey
from convwright.api.training import augmented
from convwright.studio_app.answers import Answer
from convwright.studio_app.folder import StudioFolder


class DataQuestion(BaseModel):
    """Data to survey."""

    model_config = ConfigDict(extra="forbid")
    data: str = Field(max_length=400)


class AugmentQuestion(BaseModel):
    """Data and the augmentation to show."""

    model_config = ConfigDict(extra="forbid")
    data: str = Field(max_length=400)
    rotation: float = Field(0, ge=0, le=180)
    mixup: float = Field(0, ge=0, le=1)
    randaugment: int = Field(0, ge=0, le=30)


def survey_data(folder: StudioFolder, question: DataQuestion) -> Answer:
    """Return counts, problems and the contact sheet of data."""
    found = survey(folder.data(question.data))
    return Answer(found._repr_html_(), ["data", question.data], f"cw.survey({question.data!r})")


def show_augmented(folder: StudioFolder, question: AugmentQuestion) -> Answer:
    """Return training images beside what the network sees of them."""
    options = {name: value for name, value in question.model_dump(exclude={"data"}).items() if value}
    found = augmented(folder.data(question.data), count=6, versions=4, **options)
    given = [part for name, value in options.items() for part in (f"--{name}", f"{value:g}")]
    code = "".join(f", {name}={value:g}" for name, value in options.items())
    return Answer(
        found._repr_html_(),
        ["data", question.data, "--augment", *given],
        f"cw.augmented({question.data!r}{code})",
    )
