import type { MethodDefinition } from '@grpc/grpc-js'
import { loadSync, type PackageDefinition } from '@grpc/proto-loader'

/** How to call a method: its path, and how its messages are written and read. Answers are parsed by schemas afterwards. */
export type Method = MethodDefinition<object, object>

export interface Services {
  readonly listNamespaces: Method
  readonly listImages: Method
  readonly listContent: Method
  readonly contentInfo: Method
  readonly subscribe: Method
  readonly plugins: Method
}

const FILES = ['namespaces', 'images', 'content', 'events', 'introspection']

/** Reads the proto files beside this one. */
export function loadServices(): Services {
  const definition = loadSync(
    FILES.map((name) => `${name}.proto`),
    { includeDirs: [`${import.meta.dirname}/proto`], keepCase: true, longs: Number, defaults: true },
  )
  return {
    listNamespaces: method(definition, 'namespaces.v1.Namespaces', 'List'),
    listImages: method(definition, 'images.v1.Images', 'List'),
    listContent: method(definition, 'content.v1.Content', 'List'),
    contentInfo: method(definition, 'content.v1.Content', 'Info'),
    subscribe: method(definition, 'events.v1.Events', 'Subscribe'),
    plugins: method(definition, 'introspection.v1.Introspection', 'Plugins'),
  }
}

function method(definition: PackageDefinition, service: string, name: string): Method {
  const methods = definition[`containerd.services.${service}`]
  // A message of that name would have a format; a service has its methods by name.
  if (methods === undefined || 'format' in methods) throw new Error(`the proto files lack ${service}`)
  const found: Method | undefined = methods[name]
  if (found === undefined) throw new Error(`the proto files lack ${service}/${name}`)
  return found
}
