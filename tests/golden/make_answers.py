#!/usr/bin/env python3
"""Records what the question-answering pipeline of transformers 4 answers (transformers 5 has none).

  make_answers.py own CHECKPOINT             tests/golden/answers.json: the cases of answers_cases.py, by the checkpoint
                                             with its matrices rounded to int8, as weights/qa-minilm.distild has them
  make_answers.py xquad CHECKPOINT XQUAD     tests/golden/answers-xquad.tsv: every question of XQuAD English (a file in
                                             SQuAD's format), by the checkpoint as it is; places and scores alone, no text

Needs numpy, torch and transformers 4:
  python3 -m venv /tmp/answers && /tmp/answers/bin/pip install numpy torch safetensors 'transformers<5'
"""

import argparse
import json
import pathlib

import torch
import transformers

import reference
from answers_cases import CASES

HERE = pathlib.Path(__file__).resolve().parent
# The columns of answers-xquad.tsv after the question's id.
XQUAD_RUNS = [
    {},
    {"top_k": 3, "handle_impossible_answer": True},
    {"max_seq_len": 128, "doc_stride": 48, "max_answer_len": 30},
]


def load(checkpoint, rounded):
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(checkpoint, dtype=torch.float32).eval()
    if rounded:
        reference.round_to_int8(model)
    tokenizer = transformers.DistilBertTokenizerFast.from_pretrained(checkpoint)
    return transformers.pipeline("question-answering", model=model, tokenizer=tokenizer, device="cpu")


def ask(pipeline, question, context, parameters):
    answers = pipeline(question=question, context=context, **parameters)
    return answers if isinstance(answers, list) else [answers]


def make_own(checkpoint):
    pipeline = load(checkpoint, rounded=True)
    cases = []
    for context, question, parameters in CASES:
        answers = ask(pipeline, question, context, parameters)
        cases.append({"question": question, "context": context, "parameters": parameters, "answers": answers})
        best = answers[0]
        print(f"{question.strip():45} {best['answer']!r} {best['score']:.4f}")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    about = {"transformers": transformers.__version__, "torch": torch.__version__}
    text = f'{{"about": {json.dumps(about)}, "cases": [\n{lines}\n]}}\n'
    (HERE / "answers.json").write_text(text, encoding="utf-8")


def make_xquad(checkpoint, path):
    pipeline = load(checkpoint, rounded=False)
    lines = ["\t".join(["id", *(json.dumps(run) for run in XQUAD_RUNS)])]
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                columns = [question["id"]]
                for parameters in XQUAD_RUNS:
                    answers = ask(pipeline, question["question"], paragraph["context"], parameters)
                    columns.append(" ".join(f"{a['start']}:{a['end']}:{a['score']:.6f}" for a in answers))
                lines.append("\t".join(columns))
        print(f"{len(lines) - 1} questions", flush=True)
    (HERE / "answers-xquad.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    own = commands.add_parser("own")
    own.add_argument("checkpoint", type=pathlib.Path)
    xquad = commands.add_parser("xquad")
    xquad.add_argument("checkpoint", type=pathlib.Path)
    xquad.add_argument("data", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.command == "own":
        make_own(arguments.checkpoint)
    else:
        make_xquad(arguments.checkpoint, arguments.data)


if __name__ == "__main__":
    main()
