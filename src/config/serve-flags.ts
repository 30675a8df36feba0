import { type Command, Option } from 'commander'

import { DEFAULT_ROUTER_PORT } from '../overlay/bootstrap/parse-bootstrap.ts'
import { environmentName, optionOf } from './flag-option.ts'
import type { ServeFlags } from './serve-config.ts'
import { EVERY_ADDRESS, LOOPBACK, PEER_PORT, SERVE_FLAGS } from './serve-flag-table.ts'
import { withoutUserinfo } from './userinfo.ts'

/** Flags of the design that this version refuses, since ignoring them would break a promise in silence. */
const NOT_YET = ['--peer-tls'] as const

/** Adds the flags of `serve` to a command, each with its environment variable `NABO_<FLAG>`. */
export function addServeFlags(command: Command): Command {
  command.configureOutput({ outputError: (text, write) => write(withoutUserinfo(text)) })
  for (const flag of SERVE_FLAGS) command.addOption(optionOf(flag))
  for (const flags of NOT_YET) {
    const refuse = (text: string) => {
      if (text === '') return undefined
      // commander's own words would speak of an argument `null`.
      return command.error(`error: option '${flags}' is invalid. this version does not support it yet.`)
    }
    command.addOption(
      new Option(flags.includes('<') ? flags : `${flags} [on]`)
        .argParser(refuse)
        .preset('on')
        .hideHelp()
        .env(environmentName(flags)),
    )
  }
  return command
}

/** The flags from the values that commander read for the flags of {@link addServeFlags}. */
export function serveFlagsOf(values: Record<string, unknown>): ServeFlags {
  const config: Record<string, unknown> = {}
  for (const flag of SERVE_FLAGS) {
    const name = optionOf(flag).attributeName()
    if (values[name] !== undefined && values[name] !== '') config[name] = values[name]
    if (flag.repeatable === 'list') config[name] ??= []
    if (flag.repeatable === 'map') config[name] = new Map((config[name] as [string, unknown][] | undefined) ?? [])
  }
  // Every value has gone through the parser or the choices of its flag above.
  return withDefaultListeners(config as unknown as ServeFlags)
}

/** Adds the default addresses of the peer and router listeners: loopback in a cluster without a secret, which every host could join. */
function withDefaultListeners(config: ServeFlags): ServeFlags {
  const { clusterSecretFile, insecureWithoutSecret } = config
  const host = clusterSecretFile === undefined && !insecureWithoutSecret ? LOOPBACK : EVERY_ADDRESS
  const orDefault = (addresses: ServeFlags['peerAddr'], port: number) =>
    addresses.length === 0 ? [{ host, port }] : addresses
  return {
    ...config,
    peerAddr: orDefault(config.peerAddr, PEER_PORT),
    routerAddr: orDefault(config.routerAddr, DEFAULT_ROUTER_PORT),
  }
}
