// The PostgreSQL protocol, as much as Npgsql uses of it: extended queries with the type OIDs that Npgsql infers, parameters in
// binary. Mono has no Npgsql; what the server sees is the same. C# 6, for mcs.
using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Text;

// One parameter: null bytes are NULL.
public sealed class Param
{
    public readonly int Oid;
    public readonly byte[] Bytes;

    Param(int oid, byte[] bytes) { Oid = oid; Bytes = bytes; }

    public static Param Text(string value) { return new Param(25, value == null ? null : Encoding.UTF8.GetBytes(value)); }
    public static Param Null() { return new Param(0, null); }
    public static Param Bool(bool value) { return new Param(16, new[] { (byte)(value ? 1 : 0) }); }
    public static Param Int(int value) { return new Param(23, Pg.Big(value)); }
    public static Param Long(long value) { return new Param(20, Pg.Big(value)); }

    public static Param Jsonb(string value)
    {
        var bytes = new byte[Encoding.UTF8.GetByteCount(value) + 1];
        bytes[0] = 1;
        Encoding.UTF8.GetBytes(value, 0, value.Length, bytes, 1);
        return new Param(3802, bytes);
    }

    // The first three fields of a Guid are little-endian in memory and big-endian on the wire.
    public static Param Guid(Guid value)
    {
        var bytes = value.ToByteArray();
        Array.Reverse(bytes, 0, 4);
        Array.Reverse(bytes, 4, 2);
        Array.Reverse(bytes, 6, 2);
        return new Param(2950, bytes);
    }

    // A DateTime of kind Utc; DateTime.MinValue is -infinity, as Npgsql converts it.
    public static Param Utc(DateTime value)
    {
        var epoch = new DateTime(2000, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        return new Param(1184, Pg.Big(value == DateTime.MinValue ? long.MinValue : (value - epoch).Ticks / 10));
    }

    public static Param Span(TimeSpan value)
    {
        var bytes = new byte[16];
        Pg.Big(value.Ticks / 10).CopyTo(bytes, 0);
        return new Param(1186, bytes);
    }
}

// As PostgresException: SqlState and ConstraintName are what a caller branches on.
public sealed class PgException : Exception
{
    public readonly string SqlState;
    public readonly string ConstraintName;

    public PgException(Dictionary<char, string> fields) : base(fields['C'] + " " + fields['M'])
    {
        SqlState = fields['C'];
        fields.TryGetValue('n', out ConstraintName);
    }
}

public sealed class Pg : IDisposable
{
    readonly Socket socket;
    readonly NetworkStream stream;
    readonly Queue<string> notifications = new Queue<string>();

    // host: a name, or the directory of a Unix socket.
    public Pg(string host, int port, string user, string database)
    {
        if (host.StartsWith("/"))
        {
            socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.IP);
            socket.Connect(new UnixEndPoint(host + "/.s.PGSQL." + port));
        }
        else
        {
            socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Connect(host, port);
        }
        stream = new NetworkStream(socket, true);
        var body = new Message().Add(196608).Add("user").Add(user).Add("database").Add(database).Add("client_encoding").Add("UTF8");
        body.Byte(0);
        Send('\0', body);
        stream.Flush();
        ReadUntilReady(null);
    }

    // Parse, bind and execute; rows as text. Throws PgException.
    public List<string[]> Query(string sql, params Param[] parameters)
    {
        var parse = new Message().Add("").Add(sql).Short(parameters.Length);
        var bind = new Message().Add("").Add("").Short(1).Short(1).Short(parameters.Length);
        foreach (var parameter in parameters)
        {
            parse.Add(parameter.Oid);
            bind.Add(parameter.Bytes == null ? -1 : parameter.Bytes.Length);
            if (parameter.Bytes != null) bind.Raw(parameter.Bytes);
        }
        bind.Short(0);
        Send('P', parse);
        Send('B', bind);
        Send('E', new Message().Add("").Add(0));
        Send('S', new Message());
        var rows = new List<string[]>();
        ReadUntilReady(rows);
        return rows;
    }

    // The one value of the one row.
    public string Value(string sql, params Param[] parameters)
    {
        var rows = Query(sql, parameters);
        if (rows.Count != 1) throw new Exception(rows.Count + " rows: " + sql);
        return rows[0][0];
    }

    // As NpgsqlConnection.Wait: the payload of the next notification, null when none came in time.
    public string Wait(int milliseconds)
    {
        var deadline = DateTime.UtcNow.AddMilliseconds(milliseconds);
        while (notifications.Count == 0)
        {
            var left = (int)Math.Max((deadline - DateTime.UtcNow).TotalMilliseconds, 0);
            if (!socket.Poll(left * 1000, SelectMode.SelectRead)) return null;
            char type;
            Handle(Read(out type), type, null);
        }
        return notifications.Dequeue();
    }

    public void Dispose() { stream.Dispose(); }

    void ReadUntilReady(List<string[]> rows)
    {
        PgException problem = null;
        for (;;)
        {
            char type;
            var body = Read(out type);
            if (type == 'Z') break;
            problem = Handle(body, type, rows) ?? problem;
            if (type == 'E' && rows == null) break;
        }
        if (problem != null) throw problem;
    }

    PgException Handle(Body body, char type, List<string[]> rows)
    {
        if (type == 'R' && body.Int() != 0) throw new Exception("the server wants a password");
        if (type == 'A')
        {
            body.Int();
            body.Text();
            notifications.Enqueue(body.Text());
        }
        if (type == 'D' && rows != null)
        {
            var row = new string[body.Short()];
            for (var column = 0; column < row.Length; column++) row[column] = body.Sized();
            rows.Add(row);
        }
        if (type != 'E') return null;
        var fields = new Dictionary<char, string>();
        for (var key = body.Byte(); key != 0; key = body.Byte()) fields[(char)key] = body.Text();
        return new PgException(fields);
    }

    Body Read(out char type)
    {
        var head = Bytes(5);
        type = (char)head[0];
        Array.Reverse(head, 1, 4);
        return new Body(Bytes(BitConverter.ToInt32(head, 1) - 4));
    }

    byte[] Bytes(int count)
    {
        var bytes = new byte[count];
        for (var done = 0; done < count;)
        {
            var read = stream.Read(bytes, done, count - done);
            if (read == 0) throw new EndOfStreamException("the server closed the connection");
            done += read;
        }
        return bytes;
    }

    void Send(char type, Message message)
    {
        var body = message.ToArray();
        if (type != '\0') stream.WriteByte((byte)type);
        stream.Write(Big(body.Length + 4), 0, 4);
        stream.Write(body, 0, body.Length);
    }

    public static byte[] Big(int value) { var bytes = BitConverter.GetBytes(value); Array.Reverse(bytes); return bytes; }
    public static byte[] Big(long value) { var bytes = BitConverter.GetBytes(value); Array.Reverse(bytes); return bytes; }

    sealed class Message
    {
        readonly MemoryStream bytes = new MemoryStream();

        public Message Raw(byte[] value) { bytes.Write(value, 0, value.Length); return this; }
        public Message Add(int value) { return Raw(Big(value)); }
        public Message Short(int value) { return Raw(new[] { (byte)(value >> 8), (byte)value }); }
        public Message Byte(byte value) { bytes.WriteByte(value); return this; }
        public Message Add(string value) { return Raw(Encoding.UTF8.GetBytes(value)).Byte(0); }
        public byte[] ToArray() { return bytes.ToArray(); }
    }

    sealed class Body
    {
        readonly byte[] bytes;
        int at;

        public Body(byte[] bytes) { this.bytes = bytes; }
        public byte Byte() { return bytes[at++]; }
        public int Short() { at += 2; return (bytes[at - 2] << 8) | bytes[at - 1]; }
        public int Int() { at += 4; return (bytes[at - 4] << 24) | (bytes[at - 3] << 16) | (bytes[at - 2] << 8) | bytes[at - 1]; }

        public string Text()
        {
            var start = at;
            while (bytes[at] != 0) at++;
            return Encoding.UTF8.GetString(bytes, start, at++ - start);
        }

        public string Sized()
        {
            var length = Int();
            if (length < 0) return null;
            at += length;
            return Encoding.UTF8.GetString(bytes, at - length, length);
        }
    }

    // Mono's own lies in an assembly that a small installation does not have.
    sealed class UnixEndPoint : EndPoint
    {
        readonly string path;

        public UnixEndPoint(string path) { this.path = path; }
        public override AddressFamily AddressFamily { get { return AddressFamily.Unix; } }
        public override EndPoint Create(SocketAddress address) { return new UnixEndPoint(path); }

        public override SocketAddress Serialize()
        {
            var bytes = Encoding.UTF8.GetBytes(path);
            var address = new SocketAddress(AddressFamily.Unix, bytes.Length + 3);
            for (var index = 0; index < bytes.Length; index++) address[index + 2] = bytes[index];
            return address;
        }
    }
}
