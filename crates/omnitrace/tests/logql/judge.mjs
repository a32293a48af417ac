// Reads a JSON list of LogQL expressions, writes a JSON list: does the vendor's grammar take each?
import { readFileSync } from 'node:fs';
import { parser } from '@grafana/lezer-logql';

function isValid(expression) {
  let valid = true;
  parser.parse(expression).iterate({
    enter(node) {
      valid &&= !node.type.isError;
    },
  });
  return valid;
}

const expressions = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(expressions.map(isValid)));
