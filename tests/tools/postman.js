// What the tests of a Postman collection use of Postman's `pm`, for tests/tools/test_postman.py: run(SCRIPT, RESPONSE, VARIABLES) gives the tests
// that failed as a list of texts, and the variables that were set.
"use strict";

function assertThat(value) {
  const fail = (what, wanted) => { throw new Error(`${JSON.stringify(value)} ${what} ${JSON.stringify(wanted)}`); };
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  return {to: {
    eql: wanted => same(value, wanted) || fail("is not", wanted),
    include: wanted => value.includes(wanted) || fail("does not include", wanted),
    have: {property: name => Object.prototype.hasOwnProperty.call(value, name) || fail("has no", name)},
    be: {above: wanted => value > wanted || fail("is not above", wanted)},
  }};
}

function run(script, response, variables) {
  const failures = [], set = {};
  let tests = 0;
  const pm = {
    expect: assertThat,
    response: {
      json: () => JSON.parse(response.text),
      text: () => response.text,
      to: {have: {status: wanted => assertThat(response.status).to.eql(wanted)}},
    },
    collectionVariables: {get: name => variables[name], set: (name, value) => { set[name] = value; }},
    test: (name, check) => {
      tests += 1;
      try { check(); } catch (error) { failures.push(`${name}: ${error.message}`); }
    },
  };
  new Function("pm", script)(pm);
  return JSON.stringify({tests, failures, set});
}
