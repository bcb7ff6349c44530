"""Many users who classify a text now and then, for Locust.

    distild serve --port 8080 &
    locust -f perf/locust/locustfile.py --headless --host http://127.0.0.1:8080 --users 10000 --spawn-rate 100 --run-time 15m --processes -1

Each user asks once in --every seconds (10), at a random time, over a connection of its own that is kept open: 10,000 users are 1,000 requests a
second. --texts FILE.tsv takes texts from the first column of a file with a header, such as SST-2's, instead of those below. Any
answer but 200 with a label is an error, and Locust then ends with a status other than 0.
"""

import csv
import random

import gevent
from locust import FastHttpUser, events, task
from locust.runners import WorkerRunner

TEXTS = [
    "a charming and often affecting journey",
    "unflinchingly bleak and desperate",
    "allows us to hope that nolan is poised to embark a major career as a commercial yet inventive filmmaker .",
    "the acting , costumes , music , cinematography and sound are all astounding given the production 's austere locales .",
    "it 's slow -- very , very slow .",
    "the kettle broke after two days , and nobody answers my letters",
]


@events.init_command_line_parser.add_listener
def add_options(parser):
    parser.add_argument("--every", type=float, default=10, help="Seconds between two requests of a user, on average")
    parser.add_argument("--texts", default="", help="A TSV file with a header and texts in its first column")


@events.test_start.add_listener
def read_texts(environment, **_):
    if environment.parsed_options.texts:
        with open(environment.parsed_options.texts, encoding="utf-8", newline="") as lines:
            rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(rows)
            Reader.texts = [row[0] for row in rows if row and row[0].strip()]


@events.quitting.add_listener
def fail_on_errors(environment, **_):
    if not isinstance(environment.runner, WorkerRunner) and environment.stats.total.num_failures:
        environment.process_exit_code = 1


class Reader(FastHttpUser):
    texts = TEXTS
    connection_timeout = 60.0
    network_timeout = 60.0

    def wait_time(self):
        """So that a user's requests come evenly on average, whatever an answer takes."""
        return random.uniform(0, 2 * self.environment.parsed_options.every)

    def on_start(self):
        """What is left of a wait that began some time ago, so that requests come as often at the start as later."""
        gevent.sleep(2 * self.environment.parsed_options.every * (1 - random.random() ** 0.5))

    @task
    def predict(self):
        with self.client.post("/predict", json={"text": random.choice(self.texts)}, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}: {answer.text[:200]}")
            elif not {"sentiment", "label"} & set(answer.json()):
                answer.failure("no label in the answer")
