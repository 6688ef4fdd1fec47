"""One recipe of "teach a subject and measure it", for the demo, chapter 11 and `experiments/`.

config = CompareConfig(train_steps=60)
taught, cost = teach(sd, subject, DREAMBOOTH, config)
groups = draw_situations(taught, subject, DREAMBOOTH, config)
figures = measure(Judges.load("mini"), groups, subject, config)
"""

from sdlearn.evaluate.compare.measure import (
    PICTURES,
    class_prompts,
    draw,
    draw_situations,
    measure,
    measure_class,
    measure_situations,
)
from sdlearn.evaluate.compare.recipe import (
    BEFORE,
    DREAMBOOTH,
    DREAMBOOTH_PRIOR,
    FULL,
    LABELS,
    LORA,
    TEXTUAL_INVERSION,
    CompareConfig,
    Recipe,
    Subject,
)
from sdlearn.evaluate.compare.teach import Cost, drive, teach, train
