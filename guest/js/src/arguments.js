// Turns the arguments of a call into the values of a statement's parameters, in their order.

/** Whether an object is one of named parameters: plain, of any realm. */
function isPlain(value) {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function own(object, key) {
  return Object.prototype.hasOwnProperty.call(object, key);
}

function named(object, name) {
  if (own(object, name)) return object[name];
  for (const prefix of ':@$') if (own(object, prefix + name)) return object[prefix + name];
  throw new RangeError(`Missing named parameter "${name}"`);
}

/** The values for the parameters `names` (`undefined` for a bare `?`), from both sorts. */
function inOrder(names, positional, object) {
  let next = 0;
  const values = names.map((name) => {
    if (name !== undefined && name !== null) return named(object, name);
    if (next >= positional.length) throw new RangeError('Too few parameter values were provided');
    return positional[next++];
  });
  if (next < positional.length) throw new RangeError('Too many parameter values were provided');
  return values;
}

/**
 * The values to bind. Without an object of names these are the positional ones, which the host
 * counts.
 */
export function values(args, compiled) {
  let simple = true;
  for (let i = 0; i < args.length; ++i) {
    if (typeof args[i] === 'object' && args[i] !== null && !ArrayBuffer.isView(args[i])) {
      simple = false;
      break;
    }
  }
  if (simple) return args;

  const positional = [];
  let object;
  for (const argument of args) {
    if (Array.isArray(argument)) positional.push(...argument);
    else if (isPlain(argument)) {
      if (object !== undefined) {
        throw new TypeError('You cannot specify named parameters in two different objects');
      }
      object = argument;
    } else positional.push(argument);
  }
  return object === undefined
    ? positional
    : inOrder(compiled.facts.parameterNames, positional, object);
}

/** Throw what better-sqlite3 throws if positional `values` are not as many as the parameters. */
export function checkCount(values, compiled) {
  const names = compiled.facts.parameterNames;
  if (values.length === names.length) return;
  if (values.length === 0 && names.some((name) => name !== undefined && name !== null)) {
    throw new TypeError('Missing named parameters');
  }
  const few = values.length < names.length ? 'few' : 'many';
  throw new RangeError(`Too ${few} parameter values were provided`);
}
