"""What makes and remakes the model: images, the SageMaker pipeline, Studio and retraining."""

from cdk.training.stack import TrainingStack

__all__ = ["TrainingStack"]
