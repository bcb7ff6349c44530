"""Scores in the files of MovieLens-100K, made by a process that is not the estimator's own model.

People belong to hidden clusters of taste; which one is a matter of chance that depends on age, gender and occupation
together. A cluster likes a film for the best of its genres and dislikes it for one that it cannot stand. What somebody
answers is where that, the film's quality, his own mood and chance fall between thresholds of his own. Who scores what
follows popularity and taste."""

import math
import pathlib
import random

GENRES = ["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
          "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"]
OCCUPATIONS = ("administrator artist doctor educator engineer entertainment executive healthcare homemaker lawyer librarian "
               "marketing none other programmer retired salesman scientist student technician writer").split()
CLUSTERS = 7


def make_users(rng, count):
    """(age, gender, occupation, cluster, mood, width of his thresholds), of each."""
    leaning = {key: rng.gauss(0, 1.6) for key in
               [(cluster, trait, value) for cluster in range(CLUSTERS)
                for trait, values in (("age", range(5)), ("gender", "MFO"), ("job", OCCUPATIONS), ("both", range(10)))
                for value in values]}
    users = []
    for _ in range(count):
        age = min(90, max(7, round(rng.gammavariate(7, 4.8))))
        gender = rng.choices("MFO", (68, 28, 4))[0]
        job = "student" if age < 22 and rng.random() < 0.7 else "retired" if age > 63 else rng.choice(OCCUPATIONS)
        stage = min(4, age // 15)
        weights = [math.exp(leaning[c, "age", stage] + leaning[c, "gender", gender] + 0.7 * leaning[c, "job", job] +
                            0.5 * leaning[c, "both", stage + 5 * (gender == "F")]) for c in range(CLUSTERS)]
        cluster = rng.choices(range(CLUSTERS), weights)[0]
        users.append((age, gender, job, cluster, rng.gauss(0, 0.4), math.exp(rng.gauss(0, 0.2))))
    return users


def make_films(rng, count):
    """(genres, quality, popularity, title), of each."""
    films = []
    for number in range(count):
        genres = rng.sample(range(1, len(GENRES)), rng.choices((1, 2, 3), (5, 4, 2))[0])
        quality = rng.gauss(0, 0.45)
        popularity = math.exp(0.6 * quality) / (1 + rng.expovariate(1 / 400)) ** 1.1
        films.append((genres, quality, popularity, f"Caf\u00e9 {number} ({rng.randint(1930, 1998)})"))
    return films


def answer(rng, user, film, taste):
    _, _, _, cluster, mood, width = user
    genres, quality, _, _ = film
    likes = [taste[cluster][genre] for genre in genres]
    felt = 1.1 * max(likes) + (min(likes) if min(likes) < -1 else 0) - 0.5 + quality + mood + rng.gauss(0, 0.75)
    return 1 + sum(felt > width * cut for cut in (-1.5, -0.6, 0.35, 1.3))


def write(folder, seed=1, users=943, films=1682, scores=100000, structure=True, folds=False):
    """Writes u.user, u.item and u.data, and with `folds` u1.base and u1.test to u5."""
    rng = random.Random(seed)
    folder = pathlib.Path(folder)
    people, catalogue = make_users(rng, users), make_films(rng, films)
    taste = [[rng.gauss(0, 0.8) for _ in GENRES] for _ in range(CLUSTERS)]
    folder.joinpath("u.user").write_text("".join(
        f"{i}|{age}|{gender}|{job}|{10000 + i}\n" for i, (age, gender, job, *_) in enumerate(people, 1)))
    folder.joinpath("u.item").write_bytes("".join(
        f"{i}|{title}|01-Jan-1995||http://films.example/{i}|" + "|".join(str(int(g in genres)) for g in range(19)) + "\n"
        for i, (genres, _, _, title) in enumerate(catalogue, 1)).encode("latin-1"))
    wanting = [math.exp(rng.gauss(0, 1)) for _ in people]
    total, rows = sum(wanting), []
    for number, person in enumerate(people):
        count = min(films // 2, max(20, round(scores * wanting[number] / total)))
        weights = [film[2] * math.exp(0.4 * max(taste[person[3]][g] for g in film[0])) for film in catalogue]
        # without replacement: the largest of exponential waits, each divided by its weight
        order = sorted(range(films), key=lambda i: rng.expovariate(1) / weights[i])
        start = rng.randint(874724710, 893286638)
        for place, item in enumerate(order[:count]):
            score = answer(rng, person, catalogue[item], taste) if structure else rng.choices((1, 2, 3, 4, 5), (6, 11, 27, 34, 22))[0]
            rows.append((number + 1, item + 1, score, start + 40 * place))
    rng.shuffle(rows)
    lines = ["\t".join(map(str, row)) + "\n" for row in rows]
    folder.joinpath("u.data").write_text("".join(lines))
    for fold in range(5 if folds else 0):
        folder.joinpath(f"u{fold + 1}.test").write_text("".join(lines[fold::5]))
        folder.joinpath(f"u{fold + 1}.base").write_text("".join(line for i, line in enumerate(lines) if i % 5 != fold))
