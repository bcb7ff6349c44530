#!/usr/bin/env python3
"""docs/demo.ipynb runs from top to bottom against a server, and shows what it says."""

import json
import os
from unittest import mock

import packages

packages.require("notebook", "nbclient", "ipykernel", "matplotlib")

import nbclient  # noqa: E402
import nbformat  # noqa: E402

from harness import SOURCE, main  # noqa: E402
from serving import ServeCase  # noqa: E402

NOTEBOOK = SOURCE / "docs" / "demo.ipynb"


class Notebook(ServeCase):
    def test_every_cell_runs(self):
        server = self.start(DISTILD_MODEL=str(SOURCE / "weights" / "sst2-minilm.distild"))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        variables = {"DISTILD_URL": f"http://127.0.0.1:{server.port}", "DEMO_SECONDS": "0.5"}
        with mock.patch.dict(os.environ, variables):
            nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        text = "".join(output.get("text", "") for output in outputs)
        self.assertEqual(sum("image/png" in output.get("data", {}) for output in outputs), 2)
        for wanted in ('"sentiment": "POSITIVE"', " 32 clients: ", "broken JSON      400  invalid JSON at byte", "'truncated': True"):
            self.assertIn(wanted, text)
        self.assertEqual(server.stop(), 0)

    def test_it_is_stored_with_what_it_showed(self):
        cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
        self.assertTrue(all(cell["outputs"] for cell in cells[2:] if cell["cell_type"] == "code"))


if __name__ == "__main__":
    main()
