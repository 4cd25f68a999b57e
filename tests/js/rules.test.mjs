// What every file of a panel keeps to: its types are checked, and no function is long.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import ts from "typescript";

const STATIC = new URL("../../timemoe_lab/static/", import.meta.url);
const WALL = 80; // lines of a function, the ones inside it counted in

// [name, lines] of every function in a text.
function functionsOf(text) {
  const file = ts.createSourceFile("x.js", text, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  const lineOf = (place) => file.getLineAndCharacterOfPosition(place).line;
  const found = [];
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body) {
      const name = node.name?.getText() ?? node.parent.name?.getText() ?? "=>";
      found.push([name, lineOf(node.end) - lineOf(node.getStart()) + 1]);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

test("a function is as long as from its first line to its last", () => {
  const text = "function a() {\n  const b = () => {\n  };\n}\nconst c = {\n  d() {\n    1;\n  },\n};\n";
  assert.deepEqual(functionsOf(text), [
    ["a", 4],
    ["b", 2],
    ["d", 3],
  ]);
});

const files = readdirSync(STATIC).filter((name) => name.endsWith(".js"));
test("there are panels", () => assert.ok(files.includes("threshold.js")));

for (const name of files) {
  const text = readFileSync(new URL(name, STATIC), "utf8");
  test(`${name} is checked for its types`, () => {
    assert.ok(text.startsWith("// @ts-check\n"));
    assert.ok(!/@ts-(ignore|expect-error|nocheck)/.test(text));
  });
  test(`${name} has no function over ${WALL} lines`, () => {
    assert.deepEqual(
      functionsOf(text).filter(([, lines]) => lines > WALL),
      [],
    );
  });
}
