"""Training with several processes that share the work of every batch.

Each process, a *worker*, has a copy of the network and takes an equal part of each batch; the
gradients are averaged over all workers before every update, so that the copies stay the same.
The averaging is TensorFlow's (`tf.distribute.MultiWorkerMirroredStrategy`), which would also
do it between machines; here the workers are processes on one machine that talk over loopback
ports. `ring_all_reduce` shows the same averaging by hand.

Reference: P. Patarasuk and X. Yuan, *Bandwidth optimal all-reduce algorithms for clusters of
workstations* (Journal of Parallel and Distributed Computing 69, 2009); the book's chapter
"Future and challenges".
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import numpy as np


def ring_all_reduce(vectors):
    """Give each of n workers the sum of all their vectors, by messages to the next worker only.

    Every vector is cut into n chunks. In n - 1 rounds each worker passes a chunk on and adds
    the one that it receives to its own; then each holds one chunk of the sum. In n - 1 more
    rounds the finished chunks go round. After Patarasuk & Yuan (2009).

    Parameters
    ----------
    vectors : list of numpy.ndarray, all of one shape (size,)
        What each worker begins with; not changed.

    Returns
    -------
    list of numpy.ndarray, shape (size,)
        What each worker ends with.
    list of int
        How many numbers each worker has sent.
    """
    shapes = {np.shape(vector) for vector in vectors}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(f"ring_all_reduce: expected vectors of one length, got shapes {shapes}")
    n = len(vectors)
    held = [np.array_split(np.array(vector), n) for vector in vectors]  # held[worker][chunk]
    sent = [0] * n

    def pass_on(first, receive):
        """One round: worker w sends its chunk first + w to worker w + 1; all at once."""
        messages = [held[worker][(first + worker) % n].copy() for worker in range(n)]
        for worker, message in enumerate(messages):
            sent[worker] += message.size
            chunks = held[(worker + 1) % n]
            chunks[(first + worker) % n] = receive(chunks[(first + worker) % n], message)

    for step in range(n - 1):
        pass_on(-step, lambda own, message: own + message)
    for step in range(n - 1):
        pass_on(1 - step, lambda own, message: message)
    return [np.concatenate(chunks) for chunks in held], sent


class Job(NamedTuple):
    """What to train: a Keras model with logits as its output, from the weights that it has."""

    network: object
    batch_size: int  # of all workers together
    steps: int


class Result(NamedTuple):
    """What a job has led to."""

    weights: list  # of numpy.ndarray, as Keras's get_weights, of worker 0
    disagreement: float  # largest difference of a trained weight between worker 0 and another
    losses: np.ndarray  # (steps,), of the whole batch, before each update
    seconds: np.ndarray  # (steps,), of worker 0; the first may contain a compilation


def shard(step, job, worker, workers, examples):
    """Indices of the examples that a worker takes in a step: an equal part of the next batch.

    Batches follow each other through the examples, in order, and begin again at the end.
    """
    size = job.batch_size // workers
    start = step * job.batch_size + worker * size
    return np.arange(start, start + size) % examples


def train(jobs, images, labels, *, learning_rate, workers=1, time_limit=240):
    """Train each job's network by gradient descent, with new processes that share every batch.

    One job after the other; each process computes on one core. With ``workers=1`` one process
    does the same work alone.

    Parameters
    ----------
    jobs : list of Job
        The networks are left as they are.
    images, labels : numpy.ndarray
        Examples along the first axis; labels are class numbers.
    learning_rate : float
    workers : int
        Must divide every batch size.
    time_limit : float
        Seconds for everything, starting the processes included.

    Returns
    -------
    list of Result

    Raises
    ------
    ValueError
        If the jobs do not fit the number of workers, or images and labels each other.
    RuntimeError
        If a worker fails; the message ends with what it wrote last. All workers are stopped.
    TimeoutError
        If the time limit is exceeded; all workers are stopped.
    """
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers: expected a whole number from 1, got {workers!r}")
    if len(images) != len(labels) or not len(images):
        raise ValueError(f"train: {len(images)} images but {len(labels)} labels")
    for job in jobs:
        if job.batch_size < 1 or job.batch_size % workers or job.steps < 1:
            raise ValueError(
                f"train: expected at least one step, and batches that {workers} workers can "
                f"share equally; got {job.steps} steps of {job.batch_size}"
            )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        weights = {
            f"{number}/{index}": array
            for number, job in enumerate(jobs)
            for index, array in enumerate(job.network.get_weights())
        }
        np.savez(directory / "task.npz", images=images, labels=labels, **weights)
        task = {
            "workers": workers,
            "learning_rate": learning_rate,
            "jobs": [[job.network.to_json(), job.batch_size, job.steps] for job in jobs],
        }
        deadline = time.monotonic() + time_limit
        for attempt in range(3):
            task["addresses"] = [f"127.0.0.1:{port}" for port in free_ports(workers)]
            (directory / "task.json").write_text(json.dumps(task), encoding="utf-8")
            try:
                run_workers(directory, workers, deadline, time_limit)
                break
            except RuntimeError as error:
                # Between our look and the worker's start somebody else may have taken a port.
                if attempt == 2 or "address already in use" not in str(error).lower():
                    raise
        files = [np.load(directory / f"result-{rank}.npz") for rank in range(workers)]
        results = []
        for number in range(len(jobs)):
            found = [[file[key] for key in sorted_keys(file, f"{number}/w")] for file in files]
            trained = [[file[key] for key in sorted_keys(file, f"{number}/t")] for file in files]
            disagreement = max(
                float(np.abs(first - other).max())
                for others in trained
                for first, other in zip(trained[0], others)
            )
            results.append(
                Result(
                    found[0],
                    disagreement,
                    files[0][f"{number}/losses"],
                    files[0][f"{number}/seconds"],
                )
            )
        for file in files:
            file.close()
        return results


def sorted_keys(file, prefix):
    """The keys of a result file that are `prefix` and a number, in the order of the number."""
    keys = [key for key in file if key.startswith(prefix)]
    return sorted(keys, key=lambda key: int(key.removeprefix(prefix)))


def free_ports(count):
    """Return ports of the loopback interface that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def run_workers(directory, workers, deadline, time_limit):
    """Start the processes, wait until all are done, and leave none behind, whatever happens.

    A worker that fails leaves the others waiting for its gradients for ever, so all are
    stopped. A worker whose parent is gone sees the end of its input and stops by itself.
    """
    environment = dict(os.environ, CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parents[1]), *filter(None, [environment.get("PYTHONPATH")])]
    )
    with contextlib.ExitStack() as stack:
        processes, logs = [], []
        try:
            for rank in range(workers):
                log = stack.enter_context(open(directory / f"log-{rank}", "wb"))
                processes.append(
                    subprocess.Popen(
                        command(directory, rank),
                        stdin=subprocess.PIPE,
                        stdout=log,
                        stderr=log,
                        env=environment,
                    )
                )
                logs.append(Path(log.name))
            while any(process.poll() is None for process in processes):
                if any(process.poll() for process in processes):
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"train: not done after {time_limit} s, all workers are stopped; worker "
                        f"0 wrote last:\n{last_lines(logs[0])}"
                    )
                time.sleep(0.02)
        finally:
            codes = [process.poll() for process in processes]
            for process in processes:
                process.kill()
                process.wait()
                process.stdin.close()
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed:
            raise RuntimeError(
                f"train: of {workers} workers, {failed} failed, and all are stopped\n"
                + "\n".join(
                    f"worker {rank} wrote last:\n{last_lines(logs[rank])}" for rank in failed
                )
            )


def command(directory, rank):
    """The command line of a worker."""
    return [sys.executable, "-m", "dlbook.parallel", str(directory), str(rank)]


def last_lines(path, count=12):
    """The end of a text file."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-count:])


def worker(directory, rank):
    """What each process does: train every job and write the results into a file."""
    task = json.loads((directory / "task.json").read_text(encoding="utf-8"))
    import keras
    import tensorflow as tf

    workers = task["workers"]
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if workers == 1:
        strategy = tf.distribute.get_strategy()
    else:
        place = {"type": "worker", "index": rank}
        os.environ["TF_CONFIG"] = json.dumps(
            {"cluster": {"worker": task["addresses"]}, "task": place}
        )
        ring = tf.distribute.experimental.CommunicationImplementation.RING
        strategy = tf.distribute.MultiWorkerMirroredStrategy(
            communication_options=tf.distribute.experimental.CommunicationOptions(
                implementation=ring
            )
        )
    arrays = np.load(directory / "task.npz")
    images, labels = arrays["images"], arrays["labels"]
    results, known = {}, {}
    for number, (config, batch_size, steps) in enumerate(task["jobs"]):
        if config not in known:  # jobs that differ in the batch size share the compiled function
            network = keras.models.model_from_json(config)
            known[config] = network, make_update(network, strategy, task["learning_rate"])
        network, update = known[config]
        network.set_weights([arrays[key] for key in sorted_keys(arrays, f"{number}/")])
        job = Job(network, batch_size, steps)
        losses, seconds = np.empty(steps), np.empty(steps)
        for step in range(steps):
            chosen = shard(step, job, rank, workers, len(images))
            x = tf.constant(images[chosen], network.inputs[0].dtype)
            y = tf.constant(labels[chosen], "int64")
            start = time.perf_counter()
            losses[step] = update(x, y)
            seconds[step] = time.perf_counter() - start
        results |= {f"{number}/w{i}": array for i, array in enumerate(network.get_weights())}
        trained = [np.asarray(variable) for variable in network.trainable_variables]
        results |= {f"{number}/t{i}": array for i, array in enumerate(trained)}
        results |= {f"{number}/losses": losses, f"{number}/seconds": seconds}
    np.savez(directory / f"result-{rank}.npz", **results)


def make_update(network, strategy, learning_rate):
    """Return a function that takes a worker's part of a batch and updates its copy of the network."""
    import tensorflow as tf

    variables = network.trainable_variables

    def replica(x, y):
        with tf.GradientTape() as tape:
            logits = network(x, training=True)
            # TensorFlow's own mean over the part: Keras's losses would divide by the workers, too.
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        gradients = tape.gradient(loss, variables)
        context = tf.distribute.get_replica_context()
        *gradients, loss = context.all_reduce(tf.distribute.ReduceOp.MEAN, [*gradients, loss])
        for variable, gradient in zip(variables, gradients):
            variable.assign_sub(learning_rate * gradient)
        return loss

    x = tf.TensorSpec((None, *network.input_shape[1:]), network.inputs[0].dtype)
    y = tf.TensorSpec((None,), "int64")
    return tf.function(lambda x, y: strategy.run(replica, args=(x, y)), input_signature=[x, y])


def main(directory, rank):
    """Run `worker` in a process that ends with its parent."""

    def watch():
        while os.read(0, 1):  # nothing comes; it returns when the parent closes the pipe, or dies
            pass
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()
    code = 1
    try:
        worker(Path(directory), int(rank))
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # at once: TensorFlow would wait for workers that are done, or have failed


if __name__ == "__main__":
    main(*sys.argv[1:])
