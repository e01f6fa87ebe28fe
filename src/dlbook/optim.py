"""Optimisers: rules that turn gradients into steps. Arguments and arithmetic follow Keras."""

import numpy as np


def clip_by_global_norm(parameters, clipnorm):
    """Shorten the gradient, one vector of all parameters, to length `clipnorm`.

    All gradients are multiplied by the same number, so that the direction stays. A
    shorter gradient is not changed.

    Parameters
    ----------
    parameters : sequence of Tensor
        Those without a gradient do not count.
    clipnorm : float
        The largest length allowed, above 0.

    Returns
    -------
    float, the length before.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, *On the difficulty of training recurrent
    neural networks* (ICML 2013), algorithm 1.
    """
    if not clipnorm > 0:
        raise ValueError(
            f"the norm to clip to must be positive, got {clipnorm}; None means no clipping"
        )
    learnt = [parameter for parameter in parameters if parameter.grad is not None]
    # in float64, because the square of an exploding gradient overflows float32
    squares = [np.square(parameter.grad, dtype="float64").sum() for parameter in learnt]
    norm = float(np.sqrt(sum(squares)))
    if norm > clipnorm:
        for parameter in learnt:
            parameter.grad = parameter.grad * (clipnorm / norm)
    return norm


class SGD:
    """Stochastic gradient descent, with momentum if asked for.

    Each step sets ``velocity = momentum * velocity - learning_rate * grad`` and adds the velocity to the parameter
    (B. T. Polyak, 1964). With momentum 0 this is plain gradient descent. With `global_clipnorm` each step begins with
    `clip_by_global_norm`.
    """

    def __init__(self, parameters, learning_rate=0.01, momentum=0.0, *, global_clipnorm=None):
        self.global_clipnorm = global_clipnorm
        self.parameters, self.learning_rate, self.momentum = (
            list(parameters),
            learning_rate,
            momentum,
        )
        self.velocities = [np.zeros_like(parameter.data) for parameter in self.parameters]

    def zero_grad(self):
        """Forget the gradients, which otherwise add up from one `backward` to the next."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self):
        """Move every parameter that has a gradient, in place."""
        if self.global_clipnorm is not None:
            clip_by_global_norm(self.parameters, self.global_clipnorm)
        for parameter, velocity in zip(self.parameters, self.velocities):
            if parameter.grad is not None:
                velocity *= self.momentum
                velocity -= self.learning_rate * parameter.grad
                parameter.data += velocity


class Adam:
    """Adam: steps scaled by running means of the gradient and of its square, both corrected for their start at zero.

    D. P. Kingma and J. Ba, *Adam: a method for stochastic optimization* (ICLR 2015), in the arrangement given at the
    end of its section 2, which is also that of Keras: the corrections are folded into the step size. With
    `global_clipnorm` each step begins with `clip_by_global_norm`.
    """

    def __init__(
        self,
        parameters,
        learning_rate=0.001,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        *,
        global_clipnorm=None,
    ):
        self.global_clipnorm = global_clipnorm
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.means = [np.zeros_like(parameter.data) for parameter in self.parameters]
        self.squares = [np.zeros_like(parameter.data) for parameter in self.parameters]
        self.iterations = 0

    zero_grad = SGD.zero_grad

    def step(self):
        """Move every parameter that has a gradient, in place."""
        if self.global_clipnorm is not None:
            clip_by_global_norm(self.parameters, self.global_clipnorm)
        self.iterations += 1
        steps = self.iterations
        correction = np.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
        step_size = float(self.learning_rate * correction)
        for parameter, mean, square in zip(self.parameters, self.means, self.squares):
            if parameter.grad is None:
                continue
            mean += (1 - self.beta_1) * (parameter.grad - mean)
            square += (1 - self.beta_2) * (parameter.grad**2 - square)
            parameter.data -= step_size * mean / (np.sqrt(square) + self.epsilon)
