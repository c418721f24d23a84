// The package carries a copy of the contract.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { root } from './build.js';

test('the contract is the repository’s', () => {
  for (const file of readdirSync(`${root}../../wit`)) {
    const copy = readFileSync(`${root}wit/deps/sqlite/${file}`, 'utf8');
    assert.equal(copy, readFileSync(`${root}../../wit/${file}`, 'utf8'), file);
  }
});
