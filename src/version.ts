import about from '../package.json' with { type: 'json' }

/** Of this Nabo, as `package.json` says it. */
export const VERSION: string = about.version

/** On every answer of the mirror, errors included: the version of Nabo. `nabo configure` accepts a listener that sends it. */
export const VERSION_HEADER = 'nabo-version'
