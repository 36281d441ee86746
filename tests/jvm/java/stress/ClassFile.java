package stress;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Writes classes: an IntConsumer whose accept calls a chain of static methods, the last of which allocates. */
final class ClassFile {
  private static final int PUBLIC = 1;
  private static final int STATIC = 8;
  private static final int SUPER = 0x20;

  private final ByteArrayOutputStream poolBytes = new ByteArrayOutputStream();
  private final DataOutputStream pool = new DataOutputStream(poolBytes);
  private final Map<String, Integer> indices = new LinkedHashMap<>();
  private final List<byte[]> methods = new ArrayList<>();
  private final String name;
  private final String source;

  private ClassFile(String name, String source) {
    this.name = name.replace('.', '/');
    this.source = source;
  }

  /** {@code accept}, on line {@code lines[0]}, calls {@code chain[0]}, on {@code lines[1]}, and so on. */
  static byte[] consumer(String name, String source, String[] chain, int[] lines, int idleMethods) throws IOException {
    ClassFile file = new ClassFile(name, source);
    file.constructor(lines[0]);
    for (int i = 0; i < idleMethods; i++) {
      file.method(STATIC, "idle" + i, 0, new byte[] {(byte) 0xb1}, 1); // return
    }
    file.calling(PUBLIC, "accept", 1, file.methodRef(file.name, chain[0], "(I)V"), lines[0]);
    for (int i = 0; i < chain.length; i++) {
      boolean last = i == chain.length - 1;
      int target = last ? file.methodRef("stress/Native", "allocate", "(I)V") : file.methodRef(file.name, chain[i + 1], "(I)V");
      file.calling(PUBLIC | STATIC, chain[i], 0, target, lines[i + 1]);
    }
    return file.bytes();
  }

  private void constructor(int line) throws IOException {
    int target = methodRef("java/lang/Object", "<init>", "()V");
    byte[] code = {0x2a, (byte) 0xb7, (byte) (target >> 8), (byte) target, (byte) 0xb1}; // aload_0, invokespecial, return
    write(PUBLIC, "<init>", "()V", code, line);
  }

  private void calling(int access, String method, int slot, int target, int line) throws IOException {
    byte load = (byte) (0x1a + slot); // iload_<slot>
    method(access, method, slot, new byte[] {load, (byte) 0xb8, (byte) (target >> 8), (byte) target, (byte) 0xb1}, line);
  }

  private void method(int access, String method, int slot, byte[] code, int line) throws IOException {
    write(access, method, "(I)V", code, line);
  }

  private void write(int access, String method, String descriptor, byte[] code, int line) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(bytes);
    out.writeShort(access);
    out.writeShort(utf8(method));
    out.writeShort(utf8(descriptor));
    out.writeShort(1);
    out.writeShort(utf8("Code"));
    out.writeInt(12 + code.length + 12);
    out.writeShort(2); // max_stack
    out.writeShort(2); // max_locals
    out.writeInt(code.length);
    out.write(code);
    out.writeShort(0); // exception table
    out.writeShort(1);
    out.writeShort(utf8("LineNumberTable"));
    out.writeInt(6);
    out.writeShort(1);
    out.writeShort(0); // from bytecode 0 on
    out.writeShort(line);
    methods.add(bytes.toByteArray());
  }

  private byte[] bytes() throws IOException {
    int self = classRef(name);
    int parent = classRef("java/lang/Object");
    int consumer = classRef("java/util/function/IntConsumer");
    int sourceFile = utf8("SourceFile");
    int sourceName = utf8(source);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(bytes);
    out.writeInt(0xcafebabe);
    out.writeInt(52); // Java 8
    out.writeShort(indices.size() + 1);
    poolBytes.writeTo(out);
    out.writeShort(PUBLIC | SUPER);
    out.writeShort(self);
    out.writeShort(parent);
    out.writeShort(1);
    out.writeShort(consumer);
    out.writeShort(0); // fields
    out.writeShort(methods.size());
    for (byte[] method : methods) {
      out.write(method);
    }
    out.writeShort(1);
    out.writeShort(sourceFile);
    out.writeInt(2);
    out.writeShort(sourceName);
    return bytes.toByteArray();
  }

  private int utf8(String text) throws IOException {
    Integer known = indices.get("utf8 " + text);
    if (known != null) {
      return known;
    }
    pool.writeByte(1);
    pool.writeUTF(text);
    return added("utf8 " + text);
  }

  private int classRef(String type) throws IOException {
    return pair(7, utf8(type), -1);
  }

  private int methodRef(String type, String method, String descriptor) throws IOException {
    return pair(10, classRef(type), pair(12, utf8(method), utf8(descriptor)));
  }

  private int pair(int tag, int first, int second) throws IOException {
    String key = tag + " " + first + " " + second;
    Integer known = indices.get(key);
    if (known != null) {
      return known;
    }
    pool.writeByte(tag);
    pool.writeShort(first);
    if (second >= 0) {
      pool.writeShort(second);
    }
    return added(key);
  }

  private int added(String key) {
    indices.put(key, indices.size() + 1);
    return indices.size();
  }
}
