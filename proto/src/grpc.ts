import type { DescMessage, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";

/** A message that is already encoded: a fan-out serialises once and hands the same bytes to every stream. */
export class Encoded {
  readonly bytes: Buffer;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

/** Encode a message once, to send it many times. */
export function encodeOnce<D extends DescMessage>(desc: D, message: MessageInitShape<D>): Encoded {
  return new Encoded(view(toBinary(desc, create(desc, message))));
}

/** A grpc-js service definition from a protobuf-es service: method keys are the local (camelCase) names. */
export function grpcService(service: DescService): ServiceDefinition {
  const methods: Record<string, MethodDefinition<unknown, unknown>> = {};
  for (const method of service.methods) {
    methods[method.localName] = {
      path: `/${service.typeName}/${method.name}`,
      originalName: method.localName,
      requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
      responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
      requestSerialize: encoder(method.input),
      requestDeserialize: decoder(method.input),
      responseSerialize: encoder(method.output),
      responseDeserialize: decoder(method.output),
    };
  }
  return methods as unknown as ServiceDefinition;
}

function encoder<D extends DescMessage>(desc: D): (message: unknown) => Buffer {
  return (message) => (message instanceof Encoded ? message.bytes : view(toBinary(desc, create(desc, message as MessageInitShape<D>))));
}

function decoder<D extends DescMessage>(desc: D): (bytes: Buffer) => MessageShape<D> {
  return (bytes) => fromBinary(desc, bytes);
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
